"""The images a report shows: the worst of a run and a few passes, chosen while the run goes on, in bounded memory."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.reports.overlay import RGB, crop_patch, encode_jpeg, overlay_jpeg, shrink, worst_cell
from pipeline.calibration import Decision
from pipeline.imaging.placement import Placement
from pipeline.kinds import SaidKind
from pipeline.region_of_interest import RegionOfInterest
from pipeline.regions import Region


class NearestGood(NamedTuple):
    """The support patch a cell was compared with: good image, its augmentation (-1: as it is), grid row and column."""

    image: int
    augmentation: int
    row: int
    col: int


SupportView = Callable[[int, int], RGB | None]
"""(good image, augmentation) -> that view at model size, or None when it cannot be shown."""


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One image of the gallery; pictures are JPEG or PNG bytes.

    Args:
        name: what the plant calls the image, usually its path below the scored folder.
        score: of the image.
        decision: on the image.
        image: the image itself.
        overlay: the same with heat map and contour.
        worst_patch: the surroundings of the cell with the map's highest value, or None.
        good_patch: the good patch it was compared with, or None.
        good_label: which good image that is.
        reason: what a person should know of the decision; None where the score says all.
        size: (height, width) in pixels of the upright image; None: not known, and `regions` are then not shown.
        regions: where a flagged image is marked, in those pixels, the largest first.
        kind: of its defect; None: nobody asked.
    """

    name: str
    score: float
    decision: Decision
    image: bytes
    overlay: bytes
    worst_patch: bytes | None = None
    good_patch: bytes | None = None
    good_label: str = ""
    reason: str | None = None
    size: tuple[int, int] | None = None
    regions: Sequence[Region] = ()
    kind: SaidKind | None = None


def build_item(
    *,
    name: str,
    score: float,
    decision: Decision,
    reason: str | None = None,
    size: tuple[int, int] | None = None,
    regions: Sequence[Region] = (),
    kind: SaidKind | None = None,
    pixels: RGB,
    anomaly_map: NDArray[np.float32],
    pixel_threshold: float,
    nearest: NDArray[np.integer] | None = None,
    bank_sources: NDArray[np.integer] | None = None,
    support_view: SupportView | None = None,
    display: RGB | None = None,
    region: RegionOfInterest | None = None,
    placement: Placement | None = None,
    max_side: int = 448,
) -> GalleryItem:
    """A gallery item from what scoring one image gives.

    Args:
        name: see `GalleryItem`, like `score`, `decision` and `reason`.
        score: the image score.
        decision: on it.
        reason: of it.
        size: see `GalleryItem`, like `regions`.
        regions: see there.
        kind: see there.
        pixels: uint8 RGB (H, W, 3) at model size; the patches are cut from it, as the model saw them.
        anomaly_map: (h, w).
        pixel_threshold: where the contour runs.
        nearest: (rows, columns) of the coarsest level, the bank row each cell was compared with; None: no patches.
        bank_sources: (N, 4), for each bank row good image, augmentation (-1: none), row and column.
        support_view: gives the good images; None: the good patch is left out.
        display: the image at a better size for looking at; None: `pixels`.
        region: of the image that is looked at; None: all of it.
        placement: where in `display` alignment found the part; None: nothing was aligned.
        max_side: of the two large pictures.
    """
    shown = shrink(display if display is not None else pixels, max_side)
    shown_map = anomaly_map if placement is None or display is None else placement.upright(anomaly_map)
    worst_patch = good_patch = None
    good_label = ""
    if nearest is not None:
        grid = (int(nearest.shape[0]), int(nearest.shape[1]))
        row, col = worst_cell(anomaly_map, grid)
        worst_patch = encode_jpeg(crop_patch(pixels, row, col, grid), quality=90)
        source = nearest_good(nearest, bank_sources, row, col) if bank_sources is not None else None
        view = support_view(source.image, source.augmentation) if source and support_view else None
        if source is not None and view is not None:
            good_patch = encode_jpeg(crop_patch(view, source.row, source.col, grid), quality=90)
            turned = ", turned or flipped" if source.augmentation >= 0 else ""
            good_label = f"good image {source.image + 1}{turned}"
    return GalleryItem(
        name=name,
        score=score,
        decision=decision,
        image=encode_jpeg(shown, quality=82),
        overlay=overlay_jpeg(shown, shown_map, pixel_threshold, max_side=max_side, quality=82, region=region),
        worst_patch=worst_patch,
        good_patch=good_patch,
        good_label=good_label,
        reason=reason,
        size=size,
        regions=regions,
        kind=kind,
    )


def nearest_good(
    nearest: NDArray[np.integer], bank_sources: NDArray[np.integer], row: int, col: int
) -> NearestGood | None:
    """Where the bank row that cell (row, col) was compared with came from; None when the row is not in the table."""
    bank_row = int(nearest[row, col])
    if not 0 <= bank_row < len(bank_sources):
        return None
    return NearestGood(*(int(value) for value in bank_sources[bank_row]))


class Gallery:
    """Keeps the flagged images with the highest scores, the passes closest to the limit, and a few passes by chance.

    Pictures are built only for images that are kept, so a run of a million images costs a few hundred overlays
    (more when scores rise all the time, since each then replaces one). For one thread.

    Args:
        max_flagged: REVIEW and REJECT together.
        near_passes: passes with the highest scores.
        random_passes: passes by chance, each as likely as any other.
        seed: for the chance.
    """

    def __init__(
        self, *, max_flagged: int = 200, near_passes: int = 12, random_passes: int = 12, seed: int = 0
    ) -> None:
        self._flagged = _Highest(max_flagged)
        self._near = _Highest(near_passes)
        self._sample: list[GalleryItem] = []
        self._sample_size = random_passes
        self._passes = 0
        self._chance = random.Random(seed)  # noqa: S311 - a sample to look at, not a secret

    def offer(self, score: float, decision: Decision, build: Callable[[], GalleryItem]) -> None:
        """Take the image or leave it; `build` is called at most once, and only when it is taken."""
        if decision is not Decision.PASS:
            if self._flagged.wants(score):
                self._flagged.add(score, build())
            return
        self._passes += 1
        item = None
        slot = len(self._sample) if len(self._sample) < self._sample_size else self._chance.randrange(self._passes)
        if slot < self._sample_size:
            item = build()
            self._sample[slot : slot + 1] = [item]
        if self._near.wants(score):
            self._near.add(score, item or build())

    def items(self) -> list[GalleryItem]:
        """What was kept, highest score first, each image once."""
        by_name = {item.name: item for item in [*self._flagged.items(), *self._near.items(), *self._sample]}
        return sorted(by_name.values(), key=lambda item: (-item.score, item.name))


class _Highest:
    """The items with the highest scores, so many at most; of equal scores the first come stay."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[float, int, GalleryItem]] = []
        self._order = 0

    def wants(self, score: float) -> bool:
        return len(self._heap) < self._size or (self._size > 0 and score > self._heap[0][0])

    def add(self, score: float, item: GalleryItem) -> None:
        self._order -= 1  # later items count as lower, and it keeps the heap from comparing items
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, (score, self._order, item))
        else:
            heapq.heapreplace(self._heap, (score, self._order, item))

    def items(self) -> list[GalleryItem]:
        return [item for _, _, item in self._heap]
