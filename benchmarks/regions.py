"""How well the regions of flagged images show the defects: `auto`, and anomalib's PatchCore where that is installed.

python -m benchmarks.regions LINES [--lines NAME,...] [--draws 1] [--write]
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.draws import Extraction, cached
from benchmarks.patchcore import scored_by_patchcore
from benchmarks.study import Study, options
from benchmarks.tables import mean, table
from flows.asking.request_fields import LineSettings
from flows.line_threshold import line_threshold
from flows.views import adapt_to_best, view_of
from model_zoo.learner_table import make_learner
from pipeline.episode_draws import EpisodeImages, sample_images
from pipeline.evaluation import score_levels
from pipeline.imaging.images import read_size
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.regions import MarkedMap
from pipeline.support import build_query, read_defect_mask

GOOD, DEFECTS, QUERY = 4, 4, 80
CLASSES = {"below 0.1 %": (0.0, 0.001), "0.1 to 1 %": (0.001, 0.01), "above 1 %": (0.01, 1.1)}
"""Sizes of defects, as shares of the image."""
FLAGGED, EVERY, PATCHCORE = "`auto`, images that it flags", "`auto`, every image", "anomalib PatchCore, every image"
Masks = Sequence[NDArray[np.bool_]]
"""The regions of an image, each (H, W) of its own pixels."""


class Found(NamedTuple):
    """What the regions of one image say of its defects.

    shares: (D,) the defects' shares of the image. overlaps: (D,) of each defect the best IoU with a region, 0: missed.
    touching: (R,) whether each region touches a defect. defective: whether the image is.
    """

    shares: NDArray[np.float64]
    overlaps: NDArray[np.float64]
    touching: NDArray[np.bool_]
    defective: bool


def main() -> None:
    """Print a line's figures as they are found, then the page."""
    study = Study(__file__, options(__doc__, draws=1))
    study.lines = [line for line in study.lines if line.has_masks]
    seen = cached(study.settings)
    means: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for line in study.lines:
        found: dict[str, list[Found]] = defaultdict(list)
        for seed in study.draws:
            drawn = sample_images(line, good=GOOD, defects=DEFECTS, query=QUERY, seed=seed, spare_good=True)
            for method, of_image in _of_draw(drawn, seen, seed):
                found[method].append(of_image)
        for method, images in found.items():
            means[method][line.name] = _figures(images)
            told = " / ".join(f"{value:.2f}" for value in means[method][line.name])
            print(f"{line.name}, {method}: {told}", flush=True)
    study.publish(_of_methods(means), _of_lines(study.lines, means))


def _of_draw(drawn: EpisodeImages, seen: Extraction, seed: int) -> Iterator[tuple[str, Found]]:
    """What each method marks in each image of the query that has a mask or is good."""
    records = [record for record in drawn.query if not record.is_defect or record.mask_path is not None]
    truths = [_defects_of(record) for record in records]
    view = view_of(seen.backbone, drawn.good, drawn.defects, features=seen.features, seed=seed)
    adapted = adapt_to_best(make_learner("auto", seen.backbone.spec, seed=seed), [view], seed=seed)
    threshold = line_threshold(LineSettings(), adapted.head, adapted.view, None).threshold
    output = score_levels(adapted.head, build_query(records, seen.features, view.preprocess).levels)
    for record, truth, score, values in zip(
        records, truths, output.image_score.tolist(), output.anomaly_map.numpy(), strict=True
    ):
        regions = _polygons(values, threshold.pixel, read_size(record.path))
        yield EVERY, _compared(truth, regions, record.is_defect)
        yield FLAGGED, _compared(truth, regions if score >= threshold.review else [], record.is_defect)
    if find_spec("anomalib") is None:
        return
    known = [record for record in drawn.defects if record.mask_path is not None]
    maps = scored_by_patchcore(seen.backbone, drawn.good, [*known, *records], seed).anomaly_map.numpy()
    limit = _adaptive_threshold(maps[: len(known)], known)
    for record, truth, values in zip(records, truths, maps[len(known) :], strict=True):
        height, width = read_size(record.path)
        marked = cv2.resize((values >= limit).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        yield PATCHCORE, _compared(truth, _components(marked.astype(np.bool_)), record.is_defect)


def _adaptive_threshold(maps: NDArray[np.float32], known: Sequence[ImageRecord]) -> float:
    """Where F1 over the pixels of the known defects is highest, as anomalib sets it."""
    from anomalib.metrics.threshold.f1_adaptive_threshold import (  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
        _F1AdaptiveThreshold,
    )

    size = maps.shape[2], maps.shape[1]
    masks = [read_defect_mask(record) for record in known]
    truth = [
        cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in masks if mask is not None
    ]
    metric = _F1AdaptiveThreshold()
    metric.update(torch.from_numpy(maps).flatten(), torch.from_numpy(np.stack(truth)).flatten().int())
    return float(metric.compute())


def _polygons(values: NDArray[np.float32], limit: float, size: tuple[int, int]) -> Masks:
    """Our regions as they are handed on: contours, filled."""
    masks = []
    for region in MarkedMap(values, limit).regions(size):
        filled = np.zeros(size, np.uint8)
        corners = (256 * (np.array(region.contour) - 0.5)).round().astype(np.int32)  # of pixels' centres, in 256ths
        cv2.fillPoly(filled, [corners], (1,), shift=8)
        masks.append(filled.astype(np.bool_))
    return masks


def _defects_of(record: ImageRecord) -> Masks:
    mask = read_defect_mask(record) if record.is_defect else None
    return [] if mask is None else _components(mask)


def _components(mask: NDArray[np.bool_]) -> Masks:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [labels == label for label in range(1, count)]


def _compared(defects: Masks, regions: Masks, defective: bool) -> Found:
    overlaps = np.zeros((len(defects), len(regions)))
    for row, defect in enumerate(defects):
        for column, region in enumerate(regions):
            if both := np.count_nonzero(defect & region):
                overlaps[row, column] = both / np.count_nonzero(defect | region)
    return Found(
        np.array([defect.mean() for defect in defects]),
        overlaps.max(axis=1, initial=0.0),
        overlaps.max(axis=0, initial=0.0) > 0,
        defective,
    )


def _figures(images: Sequence[Found]) -> list[float]:
    """Recall in each class and of all, share of regions that touch a defect, IoU of found defects, false regions."""
    shares, overlaps = (np.concatenate([getattr(image, name) for image in images]) for name in ("shares", "overlaps"))
    touching = np.concatenate([image.touching for image in images])
    recalls = [_mean(overlaps[(shares >= low) & (shares < high)] > 0) for low, high in CLASSES.values()]
    good = [float(len(image.touching)) for image in images if not image.defective]
    return [*recalls, _mean(overlaps > 0), _mean(touching), _mean(overlaps[overlaps > 0]), _mean(good)]


def _mean(values: Iterable[float]) -> float:
    known = np.array([*values], np.float64)
    return float(known.mean()) if len(known) else math.nan


def _of_methods(means: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Means over the lines."""
    columns = (
        "regions of",
        *(f"found, {name} of the image, %" for name in CLASSES),
        "all found, %",
        "regions that touch a defect, %",
        "IoU of the found, %",
        "regions on a good image",
    )
    rows = [[method, *_cells(mean(of_line.values()))] for method, of_line in means.items()]
    return table(columns, rows)


def _of_lines(lines: Sequence[ProductLine], means: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """All found, regions that touch a defect, and IoU, by line."""
    shown = [method for method in (EVERY, PATCHCORE) if method in means]
    rows = [[line.name, *(" / ".join(_cells(means[of][line.name])[3:6]) for of in shown)] for line in lines]
    return table(["found / touching / IoU, %", *shown], rows)


def _cells(figures: Sequence[float]) -> list[str]:
    told: list[Callable[[float], str]] = [lambda share: f"{100 * share:.0f}"] * 6 + [lambda count: f"{count:.2f}"]
    return ["-" if math.isnan(value) else tell(value) for tell, value in zip(told, figures, strict=True)]


if __name__ == "__main__":
    main()
