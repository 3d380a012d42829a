"""Alignment: a part is brought to the pose of a reference before it is looked at. Torch-free.

The part is what stands out from its background: its centre and area give place and size
(`pipeline.imaging.part_pose`), its grey values the turn (`pipeline.imaging.turns`). An image without such a part, whose
turn cannot be told, or that then looks too little like the reference or has another outline, is left as it is, and says
so (`benchmarks/alignment.md`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.part_pose import Part, Pose, along, part_of
from pipeline.imaging.placement import Placement, in_pixels, warped
from pipeline.imaging.resizing import OVERSAMPLING, resize
from pipeline.imaging.turns import Circles, Turn, pairwise_turns, turn_between

NOT_ALIGNED = "not aligned"
"""How the reason begins where an image could not be brought to the reference's pose."""

_CUT = 0.02  # of the image's edge that a part covers more than the reference does
_LARGEST = 2.0  # times as large, or as small, as the reference: beyond that something else stands out
_ALIKE, _MARGIN = 0.6, 0.2
"""The least correlation of the support's good images with which a line is aligned, and by how much others may be below
it: good plates had 0.77 where those of a support of four had 0.94."""
_CERTAIN, _AGREED = 0.1, 0.75
"""The least certainty of a turn, and the share of the support's pairs that must have it for turns to be undone at all:
turns that were found wrong, of known ones, had less (`benchmarks/alignment.md`)."""
_ROUND, _LIGHT = 0.01, 10
"""`Circles.share` below which a part is round: a real round pill has 0.006 from the light alone, a faint print makes as
much; and the degrees that round parts must be turned by for what is uneven on them to be theirs."""
_OUTLINE, _OF_ONE = 0.03, 0.8
"""By how much less outlines may overlap than the support's, and how much they must where the support is one image. A
scrap beside a pill takes off 0.02 to 0.04, a missing piece that shifts its centre by 3 per cent 0.09 and more."""
_HOLLOW = 0.06
"""By how much deeper hollows may be than the support's, in roots of the part's area: missing pieces of nuts are
0.08 deep and more, the hollows of good ones 0.04 at most (`benchmarks/alignment.md`)."""
_HALF = 0.5  # of a pixel: the part covers it


class AlignMode(StrEnum):
    """What alignment undoes."""

    NONE = "none"
    RIGID = "rigid"  # where a part lies, and how it is turned
    SIMILARITY = "similarity"  # its size, too


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The pose that a line's parts are brought to.

    Args:
        mode: what is undone; never `none`.
        pose: of the reference's part.
        thumbnail: the reference, row by row, a byte a pixel, in hexadecimal digits.
        width: of the thumbnail.
        least: smallest correlation with it.
        turns: whether turns are undone; not of round parts, nor where those of the support's cannot be told.
        outline: the pixels of the thumbnail that the part covers, eight a byte, in hexadecimal digits; None, in bundles
            of formats 11 to 15: others are not held against it.
        least_overlap: smallest overlap with it, intersection over union, 0 to 1.
        deepest_hollow: how deep outlines may go into their convex hulls, in roots of the part's area; None, in bundles
            of formats 11 to 16: anyhow.
    """

    mode: AlignMode
    pose: Pose
    thumbnail: str
    width: int
    least: float
    turns: bool = True
    outline: str | None = None
    least_overlap: float = 0.0
    deepest_hollow: float | None = None

    def __post_init__(self) -> None:
        pixels = len(bytes.fromhex(self.thumbnail))
        if self.width < 1 or not pixels or pixels % self.width:
            raise ValueError(f"{pixels} bytes are no thumbnail of {self.width} columns")
        if self.outline is not None and (found := len(bytes.fromhex(self.outline))) != math.ceil(pixels / 8):
            raise ValueError(f"{found} bytes are no outline of {pixels} pixels")

    @property
    def key(self) -> str:
        """Names it completely, for cache keys."""
        return f"align:{self}"

    @property
    def undone(self) -> str:
        """What of a part's pose, in words."""
        named = ["place", "turn", "size"]
        kept = [name for name, is_undone in zip(named, (True, self._turns, self._sizes), strict=True) if is_undone]
        return " and ".join([", ".join(kept[:-1]), kept[-1]]) if len(kept) > 1 else kept[0]

    @property
    def in_words(self) -> str:
        """What is done to images, for people."""
        return f"aligned in {self.undone} to a part that images correlate with by at least {self.least:.2f}"

    def place(self, image: NDArray[np.uint8]) -> Placement:
        """Find the part of an upright image, uint8 RGB (H, W, 3) of its own proportions."""
        size, part, correlation = (image.shape[0], image.shape[1]), part_of(image), 0.0
        if part is None or not 1 / _LARGEST <= part.pose.side / self.pose.side <= _LARGEST:
            problem = "no part of about the reference's size stands out from the background"
        elif part.pose.rim > self.pose.rim + _CUT:
            problem = "the part is cut off at the image's edge"
        else:
            matrix, turn = self.best(part)
            correlation = self.correlation(part.grey, matrix)
            problem = self._misfit(part, matrix, turn, correlation)
            if problem is None:
                return Placement(size, matrix, correlation)
        return Placement(size, np.eye(2, 3), correlation, f"{NOT_ALIGNED}: {problem}")

    def best(self, part: Part) -> tuple[NDArray[np.float64], Turn | None]:
        """The matrix of a `Placement` that brings a part to the reference, and its turn where that is undone."""
        scale = part.pose.side / self.pose.side if self._sizes else 1.0
        turn = turn_between(self._circles, part.circles) if self._turns else None
        angle = 0.0 if turn is None else math.radians(turn.degrees)
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        moved = np.array([part.pose.x, part.pose.y]) - linear @ (self.pose.x, self.pose.y)
        return np.hstack([linear, moved[:, None]]), turn

    def correlation(self, grey: NDArray[np.float32], matrix: NDArray[np.float64]) -> float:
        """Of a grey copy (h, w) with the reference, brought there by the matrix of a `Placement`; -1 to 1."""
        return float((_unit(self._seen(grey, matrix, cv2.BORDER_REPLICATE)) * _unit(self._reference)).sum())

    def overlap(self, inside: NDArray[np.float32], matrix: NDArray[np.float64]) -> float:
        """Of a part (h, w), 0 to 1 each, with the reference's, likewise: intersection over union."""
        if self._inside is None:
            return 1.0
        seen = self._seen(inside, matrix, cv2.BORDER_CONSTANT) >= _HALF
        return float((seen & self._inside).sum() / (seen | self._inside).sum())

    def _misfit(self, part: Part, matrix: NDArray[np.float64], turn: Turn | None, correlation: float) -> str | None:
        if correlation < self.least:
            return f"it correlates {correlation:.2f} with the reference, and at least {self.least:.2f} is needed"
        if turn is not None and turn.certainty < _CERTAIN:
            return f"turned by {turn.degrees:.0f} or {turn.rival:.0f} degrees it fits the reference about as well"
        if (overlap := self.overlap(part.inside, matrix)) < self.least_overlap:
            found = f"its outline overlaps the reference's by {overlap:.2f}, and at least {self.least_overlap:.2f}"
            return f"{found} is needed: a piece is missing, or something lies at its edge"
        if self.deepest_hollow is not None and part.hollow > self.deepest_hollow:
            found = f"its outline has a hollow of {part.hollow:.2f} of its size, and at most {self.deepest_hollow:.2f}"
            return f"{found} is expected: a piece is missing, or something lies at its edge"
        return None

    def _seen(self, values: NDArray[np.float32], matrix: NDArray[np.float64], border: int) -> NDArray[np.float32]:
        """The values of an image in the reference's pose, at the thumbnail's size."""
        size = (values.shape[0], values.shape[1])
        seen = warped(values, in_pixels(matrix, size, size), border)
        if seen.shape != self._reference.shape:
            seen = cv2.resize(seen, self._reference.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(seen, np.float32)

    @property
    def _turns(self) -> bool:
        """As `turns`; bundles of formats 11 to 15 do not say whether their part is round: their reference shows it."""
        return self.turns and (self.outline is not None or self._circles.share >= _ROUND)

    @property
    def _sizes(self) -> bool:
        return self.mode is AlignMode.SIMILARITY

    @cached_property
    def _reference(self) -> NDArray[np.float32]:
        return np.frombuffer(bytes.fromhex(self.thumbnail), np.uint8).reshape(-1, self.width).astype(np.float32)

    @cached_property
    def _circles(self) -> Circles:
        return along(self._reference, self.pose)

    @cached_property
    def _inside(self) -> NDArray[np.bool_] | None:
        if self.outline is None:
            return None
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(self.outline), np.uint8), count=self._reference.size)
        return bits.reshape(self._reference.shape) > 0


def fit_aligned(
    upright: NDArray[np.uint8], size: tuple[int, int], alignment: Alignment, height: int, width: int
) -> tuple[NDArray[np.uint8], Placement]:
    """An image in the reference's pose at the model's size.

    Args:
        upright: the whole of it, uint8 RGB (H, W, 3), maybe decoded smaller than it is.
        size: (height, width) that it has.
        alignment: of its line.
        height: of the model's input.
        width: of the model's input.

    Returns:
        uint8 RGB (height, width, 3), and where the part was.
    """
    placement = replace(alignment.place(upright), size=size)
    larger = (min(upright.shape[0], OVERSAMPLING * height), min(upright.shape[1], OVERSAMPLING * width))
    return resize(placement.aligned(resize(upright, *larger)), height, width).astype(np.uint8, copy=False), placement


class Fit(NamedTuple):
    """An alignment, and the mean correlation of the good images with its reference, aligned and as they were taken."""

    alignment: Alignment
    aligned: float
    as_taken: float


def alignment_of(good: Iterable[NDArray[np.uint8]], mode: AlignMode) -> Fit | None:
    """The alignment of a support's good images, uint8 RGB (H, W, 3) each; None: they do not show one part in poses.

    The reference is the image that the others look most like, once aligned to it.
    """
    parts: list[Part] = []
    for image in good:
        if (part := part_of(image)) is None:
            return None
        parts.append(part)
    turns = _turns_can_be_told([part.circles for part in parts])
    fits: list[tuple[float, float, Alignment]] = []
    for part in parts:
        alignment = _aligned_to(part, mode, turns=turns)
        others = [(other, alignment.best(other)[0]) for other in parts if other is not part]
        each = [alignment.correlation(other.grey, matrix) for other, matrix in others] or [1.0]
        least = _least_overlap([alignment.overlap(other.inside, matrix) for other, matrix in others])
        fits.append((float(np.mean(each)), min(each), replace(alignment, least_overlap=least)))
    mean, lowest, alignment = max(fits, key=lambda fit: fit[0])
    if lowest < _ALIKE:
        return None
    as_taken = np.mean([alignment.correlation(part.grey, np.eye(2, 3)) for part in parts])
    deepest = _deepest_hollow([part.hollow for part in parts])
    return Fit(replace(alignment, least=lowest - _MARGIN, deepest_hollow=deepest), mean, float(as_taken))


def _turns_can_be_told(parts: list[Circles]) -> bool:
    """Whether the turns of a support's parts are sure. What is uneven on round ones that all lie alike is the light."""
    pairs = pairwise_turns(parts)
    uneven = min(part.share for part in parts) >= _ROUND or any(abs(pair.degrees) > _LIGHT for pair in pairs)
    certain = [pair.certainty >= _CERTAIN for pair in pairs]
    return uneven and (not certain or float(np.mean(certain)) >= _AGREED)


def _aligned_to(part: Part, mode: AlignMode, *, turns: bool) -> Alignment:
    """The alignment whose reference a part is, its bounds open."""
    thumbnail = np.rint(part.grey).astype(np.uint8)
    return Alignment(
        mode=mode,
        pose=part.pose,
        thumbnail=thumbnail.tobytes().hex(),
        width=thumbnail.shape[1],
        least=-1.0,
        turns=turns,
        outline=np.packbits(part.inside >= _HALF).tobytes().hex(),
    )


def _least_overlap(overlaps: list[float]) -> float:
    """What other parts must have: as far below the support's least as that is below 1, farther if it is of few."""
    if not overlaps:
        return _OF_ONE
    strays = 1 - min(overlaps)
    return 1 - strays - max(_OUTLINE, strays * (1 + 2 / len(overlaps)))


def _deepest_hollow(hollows: list[float]) -> float:
    """What parts may have: more than the support's deepest, the more the deeper that is and the fewer it is of."""
    deepest = max(hollows)
    return deepest + max(_HOLLOW, 2 * deepest / len(hollows))


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length 1, its mean 0."""
    centred = values - values.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)
