"""What scoring says of one file or frame: its result, and what the model saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.engine.scores import ImageScore
from deploy.results.records import path_text
from pipeline.calibration import Decision
from pipeline.imaging.placement import Placement
from pipeline.kinds import SaidKind
from pipeline.look_figures import LookFigures
from pipeline.regions import Region


class FileStatus(StrEnum):
    """What happened to a file in this run."""

    SCORED = "scored"
    SKIPPED = "skipped"  # its content had a score of this bundle already, which holds for it
    UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """One file or frame of a run, in the order of its source.

    `name` and `path` are its `SourceItem`'s: a file's path begins with the folder as it was given, and a stream's frame
    has none. `score` is None for unreadable files, and where the model gave no finite number (the decision is then
    REVIEW or REJECT, never PASS, and `reason` says so). `p_value` is the share of the line's good parts that score
    at least so high; None without a score, or where the bundle does not tell. `size` is (height, width) of the upright
    image, None where it was not decoded; `regions`, in its pixels, are those of `Verdict`. `depth` is `Seen.depth`;
    `figures` are None where it was not scored in this run, or its line does not ask what images look like. `kind` is of
    `kind_of_image`.
    """

    name: str
    path: Path | None
    sha256: str | None
    status: FileStatus
    score: float | None = None
    decision: Decision | None = None
    reason: str | None = None
    overlay_path: Path | None = None
    p_value: float | None = None
    size: tuple[int, int] | None = None
    regions: tuple[Region, ...] = ()
    depth: int | None = None
    figures: LookFigures | None = None
    kind: SaidKind | None = None

    @property
    def flagged(self) -> bool:
        """Whether someone should look at the part."""
        return self.decision in (Decision.REVIEW, Decision.REJECT)

    @property
    def label(self) -> str:
        """What a person calls it: the path as it was given, or the name where there is none."""
        return self.name if self.path is None else str(self.path)

    @property
    def location(self) -> str:
        """What the result store calls it: the absolute path, or the name where there is none."""
        return self.name if self.path is None else path_text(self.path)


@dataclass(frozen=True)
class ImageView:
    """What a scored image looked like to the model; its map is copied from an accelerator when it is first read.

    pixels: uint8 RGB (H, W, 3) at model size. scored: what the head said. display: makes uint8 RGB (H, W, 3) of the
    frame it was made of, for looking at; None for a file, which can be read again. placement: where alignment found the
    part; None: nothing is aligned. Drop it soon: until then the accelerator keeps the map.
    """

    pixels: NDArray[np.uint8]
    scored: ImageScore
    display: Callable[[], NDArray[np.uint8]] | None = None
    placement: Placement | None = None

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """(h, w) over `pixels`."""
        return self.scored.anomaly_map

    @property
    def upright_map(self) -> NDArray[np.float32]:
        """(h, w) over the upright image."""
        return self.anomaly_map if self.placement is None else self.placement.upright(self.anomaly_map)

    @property
    def nearest(self) -> NDArray[np.int64]:
        """The bank row of each cell of the coarsest grid."""
        return self.scored.nearest
