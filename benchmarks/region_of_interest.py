"""What a region of interest gains where the background misleads, and costs where it does not.

python -m benchmarks.region_of_interest LINES [--lines NAME,...] [--draws 1] [--write]
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.draws import Extraction, cached
from benchmarks.study import Study, options
from benchmarks.tables import mean, percent, table
from flows.asking.request_fields import LineSettings
from flows.line_threshold import line_threshold
from flows.open_backbone import open_backbone
from flows.views import SUPPORT, adapt_to_best, view_of
from model_zoo.learner_table import make_learner
from model_zoo.learning.region_learner import RegionLearner
from pipeline.episode_draws import EpisodeImages, sample_images
from pipeline.evaluation import score_levels
from pipeline.features import DEFAULT_BACKBONE
from pipeline.imaging.images import read_native
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.region_of_interest import RegionOfInterest
from pipeline.settings import load_settings
from pipeline.support import DirectFeatures, build_unlabelled
from pipeline.synthetic.defects import estimate_foreground

LINES = "aws_l4v/cookie,kaggle_pill/pill_edge,mvtec/pill,otx_hazelnut/hazelnut"
TILED = "kaggle_pill/pill_edge"
"""The line that loses most by a changing background is seen as tiles, too, which show all of it at 288 px."""
TILES, TILE_SIDE = (2, 2), 160
GOOD, DEFECTS, QUERY = 4, 4, 80
MARGIN = 0.03  # of the image's side between the parts' box and the clutter
PIECES = 60  # of clutter on an image

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of the image's sides."""


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    study = Study(__file__, options(__doc__, only=LINES, draws=1))
    seen = cached(study.settings)
    rows = []
    for line in study.lines:
        box = parts_box(line)
        found: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
        for seed in study.draws:
            for case, figures in _of_draw(line, box, seen, seed):
                found[case].append(figures)
        means = {case: mean(of_case) for case, of_case in found.items()}
        print(line.name, box, means, flush=True)
        rows += [[line.name, *case, *map(_cell, figures)] for case, figures in means.items()]
    columns = ("line", "background", "looked at", "image AUROC, %", "good rejected, %", "defects missed, %")
    study.publish(table(columns, rows))


def parts_box(line: ProductLine) -> Box:
    """The box in which the line's parts lie, of some good images, as a person would draw it."""
    edges = []
    for record in line.train_good[:20]:
        image = read_native(record.path)
        rows, columns = np.nonzero(estimate_foreground(image))
        height, width = image.shape[:2]
        edges.append(
            (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
        )
    left, top, right, bottom = np.array(edges).T
    return float(left.min()), float(top.min()), float(right.max()), float(bottom.max())


def _of_draw(line: ProductLine, box: Box, seen: Extraction, seed: int) -> Iterator[tuple[tuple[str, str], list[float]]]:
    """Figures by background and by what is looked at."""
    drawn = sample_images(line, good=GOOD, defects=DEFECTS, query=QUERY, seed=seed, spare_good=True)
    wide = (box[0] - MARGIN, box[1] - MARGIN, box[2] + MARGIN, box[3] + MARGIN)
    regions: dict[str, RegionOfInterest | None] = {"everything": None}
    for name, drawn_box in (("up to the clutter", wide), ("the parts' box", box)):
        region = RegionOfInterest(_inside(drawn_box, (512, 512)))
        regions[f"{name}, {region.share:.0%}"] = region
    with tempfile.TemporaryDirectory(prefix="clutter-") as folder:
        for background, images in (("as it is", drawn), ("clutter", _cluttered_draw(drawn, wide, Path(folder)))):
            for looked_at, region in regions.items():
                yield (background, looked_at), _figures(images, region, seen, seed)
                if line.name == TILED:
                    name = f"{looked_at}, as {TILES[0]} x {TILES[1]} tiles of {TILE_SIDE} px"
                    yield (background, name), _figures(images, region, seen, seed, tiles=TILES)


def _figures(
    images: EpisodeImages,
    region: RegionOfInterest | None,
    seen: Extraction,
    seed: int,
    *,
    tiles: tuple[int, int] | None = None,
) -> list[float]:
    """Image AUROC, share of the good images rejected and of the defective ones missed."""
    backbone = seen.backbone if tiles is None else open_backbone(DEFAULT_BACKBONE, TILE_SIDE, load_settings())
    view = view_of(
        backbone,
        images.good,
        images.defects,
        config=SUPPORT if tiles is None else replace(SUPPORT, synthetic=0),  # as `adapt` has them
        features=seen.features if tiles is None else None,
        region=region,
        tiles=tiles,
        seed=seed,
    )
    adapted = adapt_to_best(RegionLearner(make_learner("auto", backbone.spec, seed=seed)), [view], seed=seed)
    threshold = line_threshold(LineSettings(), adapted.head, view, None).threshold
    source = seen.features if tiles is None else DirectFeatures(view.extractor)
    levels = build_unlabelled(images.query, source, view.preprocess, ()).levels
    scores = score_levels(adapted.head, levels).image_score.numpy()
    defective = np.array([record.is_defect for record in images.query])
    rejected = scores >= threshold.reject
    auroc = image_auroc(scores, defective)
    return [auroc, float(rejected[~defective].mean()), float((~rejected[defective]).mean())]


def _cluttered_draw(drawn: EpisodeImages, box: Box, folder: Path) -> EpisodeImages:
    def of(records: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
        return tuple(_cluttered(record, box, folder) for record in records)

    return EpisodeImages(good=of(drawn.good), defects=of(drawn.defects), query=of(drawn.query))


def _cluttered(record: ImageRecord, box: Box, folder: Path) -> ImageRecord:
    """The image with pieces of random colour and place outside the box, others in every image."""
    count = len(list(folder.iterdir()))
    rng, image = np.random.default_rng(count), read_native(record.path)
    height, width = image.shape[:2]
    clutter = image.copy()
    for _ in range(PIECES):
        place = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(width * rng.uniform(0.02, 0.12)), int(height * rng.uniform(0.02, 0.12)))
        colour = [int(value) for value in rng.integers(0, 256, 3)]
        cv2.ellipse(clutter, place, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    seen = np.where(_inside(box, (height, width))[..., None], image, clutter)
    path = folder / f"{count}.png"
    cv2.imwrite(str(path), seen[..., ::-1])
    return replace(record, path=path)


def _inside(box: Box, size: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = size
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in box)
    mask = np.zeros(size, np.bool_)
    mask[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = True
    return mask


def _cell(share: float) -> str:
    return percent([share])


if __name__ == "__main__":
    main()
