"""What a bundle says of an image, and what it must be told of it for that."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Decision
from pipeline.regions import Region

NOT_JUDGED = "the model gave no finite score"
AT_FIRST_LOOK = "settled by the first look"
"""Why an image passes that the line's own head was not asked about."""


class Scored(Protocol):
    """A head's answer for one image, as `deploy.engine.scores.ImageScore` has it: what is not read costs nothing."""

    @property
    def score(self) -> float:
        """Of the image, higher is more anomalous."""
        ...

    @property
    def anomaly_map(self) -> NDArray[np.float32]:
        """(h, w) on the finest grid. Reading it may copy it from an accelerator."""
        ...

    @property
    def distance(self) -> float | None:
        """Of the image as a whole to the line's support; None: the head does not say."""
        ...

    @property
    def finite(self) -> bool:
        """Whether score and map are."""
        ...

    @property
    def at_first_look(self) -> bool:
        """Whether a first, cheap look settled the image: it passes, and nothing else looked at it."""
        ...


class Verdict(NamedTuple):
    """The decision on an image.

    Args:
        decision: what happens to the part.
        reason: what a person should know of it; None where the score says all.
        judged: whether the score means anything. Where it does not, neither does the map, and neither is shown.
        regions: where an image that its score flags is marked, the largest first; what is too small to count is left
            out. None of an image that passes, is unlike the line or is not judged.
    """

    decision: Decision
    reason: str | None = None
    judged: bool = True
    regions: tuple[Region, ...] = ()
