"""What int8 does to the scores and the speed of real lines, as `linewise export --int8` makes it and otherwise.

    python -m benchmarks.int8 LINES --lines mvtec/pill,otx_hazelnut/hazelnut [--write]

Each line is adapted (auto, 256 px, 8 good and 4 defective images). Its other images then go through the gate: every
image is scored in float32 and in int8 in turn, on one thread.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.deployments import engine_of
from benchmarks.study import Study, options
from benchmarks.tables import table, table_row
from benchmarks.turns import in_turns, median_ratio
from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from deploy.engine.extractor import OrtExtractor
from deploy.exporting.int8 import FLOAT_CONVOLUTIONS, calibration_images, quantise_backbone
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.export.int8_gate import gate_images, judge
from flows.open_backbone import OpenBackbone, open_backbone
from flows.views import adapt_to_best, view_of
from model_zoo.learner_table import make_learner
from pipeline.features import DEFAULT_BACKBONE, BackboneArtefact
from pipeline.head_calibration import calibrate_head
from pipeline.imaging.images import require_image
from pipeline.precision_gate import Comparison, compare
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.settings import Settings, load_settings
from pipeline.storage import sha256_file

SIZE = 256
FEWER = 3
ROUNDS = 40
LINES = "mvtec/pill,otx_hazelnut/hazelnut"
COLUMNS = (
    *("line", "int8", "image AUROC, float32 / int8", "rank correlation", "decisions changed"),
    *("good scores moved, sd", "largest, sd", "float32 / int8 time", "gate"),
)


def quantised(
    artefact: BackboneArtefact, images: NDArray[np.uint8], root: Path, float_convolutions: int = FLOAT_CONVOLUTIONS
) -> BackboneArtefact:
    """The backbone in int8, calibrated on the images, in a folder of its own below `root`."""
    folder = Path(tempfile.mkdtemp(dir=root))
    return quantise_backbone(artefact, images, folder, float_convolutions=float_convolutions)


def support_of(line: ProductLine, deployment: Deployment) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """The good and the defective images that a line was adapted to."""
    support = deployment.bundle.manifest.support
    good = {sha256_file(record.path): record for record in line.train_good}
    defects = {sha256_file(record.path): record for record in line.defects}
    return [good[name] for name in support.good], [defects[name] for name in support.defects]


def adapted_anew(
    line: ProductLine, deployment: Deployment, opened: OpenBackbone, int8: BackboneArtefact, gate: list[ImageRecord]
) -> Comparison:
    """The line adapted on int8 features from the same support, with a threshold of its own.

    Its scores are moved by the difference of the two thresholds, so that both decide at the stored one.
    """
    manifest = deployment.bundle.manifest
    good, defects = support_of(line, deployment)
    backbone = OpenBackbone(opened.module, int8, OrtExtractor(int8, "cpu", threads=1))
    view = view_of(backbone, good, defects, white_level=manifest.preprocess.white_level, seed=0)
    head = adapt_to_best(make_learner(manifest.learner.name, opened.spec, seed=0), [view], seed=0).head
    threshold = calibrate_head(head, view.support, manifest.threshold.target_false_reject_rate, None).threshold
    images = np.stack([require_image(record.path, manifest.preprocess).pixels for record in gate])
    with torch.inference_mode():
        levels = [torch.from_numpy(level) for level in backbone.extractor.extract(images)]
        after = [float(head(*(level[i : i + 1] for level in levels)).image_score) for i in range(len(images))]
    before = float_scores(deployment, images)
    moved = np.array(after) + manifest.threshold.reject - threshold.reject
    decide = manifest.threshold.decide  # the head is not exported, so no bundle could judge
    changed = sum(decide(float(a)) is not decide(float(b)) for a, b in zip(before, moved, strict=True))
    return compare(before, moved, np.array([record.is_defect for record in gate]), decisions_changed=changed)


def float_scores(deployment: Deployment, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Image scores (B,) of uint8 images (B, H, W, 3) in float32."""
    return engine_of(deployment).score(deployment.bundle.manifest.line, images).image_score


def row(line: str, variant: str, found: Comparison, speedup: float | None) -> list[str]:
    """A row of the table."""
    auroc = f"{100 * found.auroc_float32:.2f} / {100 * found.auroc_int8:.2f}"
    changed = f"{found.decisions_changed} of {found.good + found.defects}"
    moved = (f"{found.rank_correlation:.3f}", changed, f"{found.good_shift:+.2f}", f"{found.largest_difference:.2f}")
    took = "" if speedup is None else f"{speedup:.2f}"
    return [line, variant, auroc, *moved, took, "passes" if found.passes else "refuses"]


def rows_of(line: ProductLine, settings: Settings, root: Path) -> Iterator[list[str]]:
    """A line's rows, a way of quantising each."""
    request = AdaptRequest(line=line.name, images=line.root, size=SIZE, good=8, defects=4)
    version = adapt.run(request, settings).bundle.manifest.version
    deployment = Registry(settings.home).deployment(line.name, version)
    opened = open_backbone(DEFAULT_BACKBONE, SIZE, settings)
    good, defects = gate_images(line, deployment.bundle.manifest.support)
    gate = [*good, *defects]
    generated = calibration_images(deployment.backbone.spec)
    shipped = quantised(deployment.backbone, generated, root)
    yield row(line.name, "as exported", *judge(deployment, shipped, gate))
    preprocess = deployment.bundle.manifest.preprocess
    support = np.stack([require_image(record.path, preprocess).pixels for record in support_of(line, deployment)[0]])
    own = quantised(deployment.backbone, support, root)
    yield row(line.name, "calibrated on its good support", *judge(deployment, own, gate))
    fewer = quantised(deployment.backbone, generated, root, FEWER)
    yield row(line.name, f"{FEWER} convolutions in float32", *judge(deployment, fewer, gate))
    anew = adapted_anew(line, deployment, opened, shipped, gate)
    yield row(line.name, "adapted anew on int8 features", anew, None)


def backbone_times(settings: Settings, root: Path) -> str:
    """Backbone alone on generated images, in turn; the median of the rounds' ratios."""
    artefact = open_backbone(DEFAULT_BACKBONE, SIZE, settings).artefact
    images = calibration_images(artefact.spec)
    artefacts = {"float32": artefact, "int8": quantised(artefact, images, root)}

    def extract(extractor: OrtExtractor, number: int) -> None:
        extractor.extract(images[number % len(images)][None])

    sides = {name: partial(extract, OrtExtractor(side, "cpu", threads=1)) for name, side in artefacts.items()}
    seconds = {name: [taken.wall for taken in found] for name, found in in_turns(sides, ROUNDS).items()}
    sizes = [side.onnx_path.stat().st_size / 2**20 for side in artefacts.values()]
    return (
        f"{DEFAULT_BACKBONE} at {SIZE} px alone: float32 takes "
        f"{median_ratio(seconds['float32'], seconds['int8']):.2f} times as long as int8 (median of {ROUNDS} images, "
        f"one thread); its file has {sizes[0]:.1f} MiB in float32, {sizes[1]:.1f} in int8."
    )


def main() -> None:
    """Print a row as it is found, then the page."""
    study = Study(__file__, options(__doc__, only=LINES))
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        settings = load_settings(root / "home")
        for line in study.lines:
            for found in rows_of(line, settings, root):
                print(table_row(found), flush=True)
                rows.append(found)
        study.publish(table(COLUMNS, rows), backbone_times(settings, root))


if __name__ == "__main__":
    main()
