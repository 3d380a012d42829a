"""anomalib's PatchCore on the draws of the learning curve: the same files, pixels and backbone.

    python -m benchmarks.patchcore LINES [--lines NAME,...] [--draws 3]

anomalib is no dependency of Linewise: run this in an environment that has both (anomalib 2.7.0 was used). Model, random
projection, coreset ratio (a tenth) and score are anomalib's. Its greedy selection takes a norm of all patches a row, an
hour and 19 GB for sixty images; here the same farthest patch is found by a matrix product. Rows are added to
`benchmarks/learning_curve_patchcore.csv`; those that are there are not made again.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.kept_scores import MOST_TESTED
from benchmarks.learning_curve import DEFECTS, GOOD
from benchmarks.study import Study, options
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import DEFAULT_SIZE
from model_zoo.backbones.backbone import Backbone
from pipeline.episode_draws import sample_images
from pipeline.evaluation import ranking_figures, read_truth
from pipeline.features import DEFAULT_BACKBONE
from pipeline.imaging.images import require_image
from pipeline.learner import AnomalyOutput
from pipeline.product_lines.lines import ImageRecord

COLUMNS = ("line", "data_set", "good", "seed", "image_auroc", "aupro")
_RATIO, _BATCH = 0.1, 8


def main() -> None:
    """Add the rows that are missing."""
    study = Study(__file__, options(__doc__, draws=3, page=False))
    path = study.page.with_name("learning_curve_patchcore.csv")
    known = _known(path)
    backbone = open_backbone(DEFAULT_BACKBONE, DEFAULT_SIZE, study.settings)
    for line in study.lines:
        for seed in study.draws:
            drawn = sample_images(
                line, good=max(GOOD), defects=max(DEFECTS), query=MOST_TESTED, seed=seed, spare_good=False
            )
            truth = read_truth(drawn.query, (DEFAULT_SIZE, DEFAULT_SIZE))
            for good in GOOD:
                if (line.name, str(good), str(seed)) in known:
                    continue
                output = scored_by_patchcore(backbone, drawn.good[:good], drawn.query, seed)
                figures = ranking_figures(output, truth)
                row = (line.name, line.data_set, good, seed, figures["image_auroc"], figures["aupro"])
                _add(path, row)
                print(*row, flush=True)


def _known(path: Path) -> set[tuple[str, str, str]]:
    if not path.is_file():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {(row["line"], row["good"], row["seed"]) for row in csv.DictReader(file)}


def _add(path: Path, row: Sequence[Any]) -> None:
    is_new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([COLUMNS, row] if is_new else [row])


class _Taps(nn.Module):
    """A backbone's raw maps under the names that PatchCore asks for."""

    def __init__(self, backbone: Backbone, names: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.names = backbone, names

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Of RGB images (B, 3, H, W), 0..255."""
        backbone = self.backbone
        maps = backbone.trunk((images - backbone.get_buffer("pixel_mean")) / backbone.get_buffer("pixel_std"))
        return dict(zip(self.names, maps, strict=True))


@torch.no_grad()
def scored_by_patchcore(
    backbone: OpenBackbone, good: Sequence[ImageRecord], query: Sequence[ImageRecord], seed: int
) -> AnomalyOutput:
    """PatchCore of the good images at the backbone's size, asked for the query: maps (Q, H, W) of the input's size."""
    from anomalib.models.components.sampling import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
        k_center_greedy,
    )
    from anomalib.models.image.patchcore.torch_model import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
        PatchcoreModel,
    )

    torch.manual_seed(seed)
    module = backbone.module
    assert isinstance(module, Backbone), "the default one is not fused"
    names = [f"tap {index}" for index in range(len(module.level_of_tap))]
    model = PatchcoreModel(layers=["blocks.2"], backbone="tf_efficientnet_lite0", pre_trained=False)
    model.layers, model.feature_extractor = names, _Taps(module, names)
    model.train()
    for start in range(0, len(good), _BATCH):
        model(_pixels(backbone, good[start : start + _BATCH]))
    patches = torch.vstack(model.embedding_store)
    sampler = k_center_greedy.KCenterGreedy(embedding=patches, sampling_ratio=_RATIO)
    sampler.model.fit(patches)
    projected = np.ascontiguousarray(sampler.model.transform(patches).numpy())
    first = int(torch.randint(len(patches), (1,)))
    model.memory_bank = patches[torch.from_numpy(_farthest(projected, sampler.coreset_size, first))]
    model.eval()
    scores, maps = [], []
    for start in range(0, len(query), _BATCH):
        found = model(_pixels(backbone, query[start : start + _BATCH]))
        scores.append(found.pred_score.reshape(-1))
        maps.append(found.anomaly_map[:, 0])
    anomaly_map = torch.cat(maps)
    return AnomalyOutput(torch.cat(scores), anomaly_map, torch.zeros(len(anomaly_map), 1, 1, dtype=torch.int64))


def _pixels(backbone: OpenBackbone, records: Sequence[ImageRecord]) -> Tensor:
    read = (require_image(record.path, backbone.preprocess()).pixels for record in records)
    return torch.from_numpy(np.stack(list(read))).permute(0, 3, 1, 2).float()


def _farthest(points: NDArray[np.float32], count: int, first: int) -> NDArray[np.int64]:
    """Rows chosen greedily, each the farthest from all chosen before it."""
    squares = np.einsum("nc,nc->n", points, points)
    nearest = np.full(len(points), np.inf, np.float32)
    chosen = [first]
    for _ in range(count - 1):
        last = chosen[-1]
        np.minimum(nearest, squares - 2 * (points @ points[last]) + squares[last], out=nearest)
        nearest[chosen] = 0
        chosen.append(int(nearest.argmax()))
    return np.array(chosen, np.int64)


if __name__ == "__main__":
    main()
