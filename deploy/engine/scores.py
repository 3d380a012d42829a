"""What heads say about a batch: scores at once, maps and matched rows only for who asks. Torch-free.

Of a hundred images a few are flagged, and only their maps are looked at. On an accelerator the others' never leave its
memory; on the CPU they lie where the head wrote them, and nothing is copied at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

HEAD_OUTPUTS = ("image_score", "anomaly_map", "nearest")

SUPPORT_DISTANCE = "support_distance"
"""The output of a head that says how far an image as a whole lies from the line's support (B,), float32. Heads made by
hand, or before there was any, have none."""

TILE = "tile"
"""The input of a head that must be told which of an image's tiles it sees (B,), int64: the place of each among those
that are looked at. Heads of whole images, and those to which all tiles are alike, have none."""

SCORE_COVERS_MAP = "linewise.score_covers_map"
"""Set in a head graph's metadata where its score is not finite as soon as one cell of its map is not: then the score
says alone whether the head could judge the image. `deploy.exporting.score_cover` makes it so. Of a head without it
(made by hand, or before there was any), and on TensorRT, which promises nothing about nan, each map is looked at, so it
is copied from an accelerator."""


class HeadOutputs(NamedTuple):
    """A head's `HEAD_OUTPUTS` for B images, in the CPU's memory.

    image_score: (B,) float32, higher is more anomalous. anomaly_map: (B, H, W) float32 on the finest grid.
    nearest: (B, h, w) int64, for each cell of the coarsest grid the row of the bank it was compared with.
    """

    image_score: NDArray[np.float32]
    anomaly_map: NDArray[np.float32]
    nearest: NDArray[np.int64]


class LeftInPlace:
    """Rows of an output where a head left them, brought to the CPU when they are first asked for.

    Takes no lock: threads that ask together may each copy, and get the same values.

    Args:
        value: the head's output, in any memory.
        rows: those of it that are meant.
    """

    __slots__ = ("_held", "_rows")

    def __init__(self, value: ort.OrtValue, rows: slice) -> None:
        self._held: ort.OrtValue | NDArray[np.generic] = value
        self._rows = rows

    def numpy(self) -> NDArray[np.generic]:
        """The rows. After the first call an accelerator's memory is free again; CPU memory is never copied."""
        held = self._held
        if isinstance(held, ort.OrtValue):
            held = self._held = cast("NDArray[np.generic]", held.numpy())[self._rows]
        return held


class Output(Protocol):
    """An output of a run that is brought to the CPU for who asks."""

    def numpy(self) -> NDArray[np.generic]:
        """A row for each image of the run."""
        ...


@dataclass(frozen=True)
class HeadRun:
    """What one head said of its rows of a batch; `covers_map` as in `SCORE_COVERS_MAP`, `distance` (B,) or None."""

    image_score: NDArray[np.float32]
    anomaly_map: Output
    nearest: Output
    covers_map: bool
    distance: NDArray[np.float32] | None = None

    def images(self) -> Iterator[ImageScore]:
        """Each row."""
        return (ImageScore(float(score), self, row) for row, score in enumerate(self.image_score))


@dataclass(frozen=True)
class ImageScore:
    """What a head said of one image: its score, and row `row` of the rest of `run`.

    It keeps the run's maps in the device's memory until one of them is asked for or the last image of the run is gone:
    some 24 KB an image at 256 px.
    """

    score: float
    run: HeadRun
    row: int

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """(H, W)."""
        return cast("NDArray[np.float32]", self.run.anomaly_map.numpy()[self.row])

    @property
    def nearest(self) -> NDArray[np.int64]:
        """(h, w)."""
        return cast("NDArray[np.int64]", self.run.nearest.numpy()[self.row])

    @property
    def distance(self) -> float | None:
        """Of the image as a whole to the line's support; None: the head does not say."""
        return None if self.run.distance is None else float(self.run.distance[self.row])

    @property
    def at_first_look(self) -> bool:
        """Whether a first look settled it, see `deploy.engine.two_looks`."""
        return False

    @property
    def finite(self) -> bool:
        """Whether score and map are: a part that the model cannot judge must never pass."""
        return math.isfinite(self.score) and (self.run.covers_map or bool(np.isfinite(self.anomaly_map).all()))


class Scores(tuple[ImageScore, ...]):
    """What heads said of B images, in their order. The arrays copy: they are for who wants all images at once."""

    __slots__ = ()

    @property
    def image_score(self) -> NDArray[np.float32]:
        """(B,), higher is more anomalous."""
        return np.array([image.score for image in self], np.float32)

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """(B, H, W) on the finest grid."""
        return np.stack([image.anomaly_map for image in self])

    @property
    def nearest(self) -> NDArray[np.int64]:
        """(B, h, w): for each cell of the coarsest grid the row of the bank it was compared with."""
        return np.stack([image.nearest for image in self])

    def outputs(self) -> HeadOutputs:
        """All of it in the CPU's memory."""
        return HeadOutputs(self.image_score, self.anomaly_map, self.nearest)


def in_order(runs: Iterable[HeadRun], order: list[int]) -> Scores:
    """The images of several runs, one after another, sorted so that the image of place i is the i-th.

    Args:
        runs: of one batch.
        order: (B,) the place of each image of the runs.
    """
    images = [image for run in runs for image in run.images()]
    return Scores(image for _, image in sorted(zip(order, images, strict=True), key=lambda placed: placed[0]))
