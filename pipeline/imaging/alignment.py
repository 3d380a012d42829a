"""Alignment: a part is brought to the pose of a reference before it is looked at. Torch-free.

The part is what stands out from its background, and its pose where that lies, how it is turned and how large it is. Of
the turns that outlines allow, two or four for an oval or a box, the one counts under which the part looks most like the
reference, by correlation. An image without such a part, or that looks too little like the reference in every pose, is
left as it is, and says so (`benchmarks/alignment.md`).

Places are in lengths of the image's longer side, from the outer corner of its first pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.resizing import OVERSAMPLING, resize
from pipeline.synthetic.defects import estimate_foreground

NOT_ALIGNED = "not aligned"
"""How the reason begins where an image could not be brought to the reference's pose."""

_SIDE = 128  # of the copy in which the part is found; its pose is then within some 0.2 pixels of it
_THUMBNAIL = 64  # of the copy that is correlated
_BETTER = 0.005  # in correlation: a turn that gives less is left, as a round part has none
_CUT = 0.02  # of the image's edge that a part covers more than the reference does
_LARGEST = 2.0  # times as large, or as small, as the reference: beyond that something else stands out
_ALIKE, _MARGIN = 0.6, 0.2
"""The least correlation of the support's good images with which a line is aligned, and by how much others may be below
it: good plates had 0.77 where those of a support of four had 0.94."""


class AlignMode(StrEnum):
    """What alignment undoes."""

    NONE = "none"
    RIGID = "rigid"  # where a part lies, and how it is turned
    SIMILARITY = "similarity"  # its size, too


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a part lies.

    Args:
        x: of its centre.
        y: likewise.
        side: root of its area.
        axis: direction of its longer axis, in degrees; up to half a turn.
        box: of the smallest box around it, in degrees; up to a quarter of a turn.
        rim: share of the image's edge that it covers.
    """

    x: float
    y: float
    side: float
    axis: float
    box: float
    rim: float


@dataclass(frozen=True)
class Placement:
    """Where alignment found the part of an image.

    Args:
        size: (height, width) of the upright image.
        matrix: (2, 3) from places in the aligned image to those in the image as it was taken.
        correlation: of the aligned image with the reference, -1 to 1.
        problem: why the image is left as it was taken, the matrix is then that of no change; None: it is aligned.
    """

    size: tuple[int, int]
    matrix: NDArray[np.float64]
    correlation: float
    problem: str | None = None

    @property
    def scale(self) -> float:
        """How many times as long the part is in the image as it was taken."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix[:, :2]))))

    def aligned(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The whole image (H, W) or (H, W, 3), at any size, in the reference's pose; its border goes on beyond it.

        Of an image that could not be aligned the image itself.
        """
        if self.problem is not None:
            return pixels
        return _warped(pixels, _in_pixels(self.matrix, pixels.shape, self.size), cv2.BORDER_REPLICATE)

    def upright(self, anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse for a map (h, w): over the image as it was taken. Where nothing was seen it is at its least."""
        if self.problem is not None:
            return anomaly_map
        back = np.asarray(cv2.invertAffineTransform(_in_pixels(self.matrix, anomaly_map.shape, self.size)), np.float64)
        return _warped(anomaly_map, back, cv2.BORDER_CONSTANT, float(anomaly_map.min()))

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) x and y in pixels of the aligned image, which has the upright one's size, as the upright one's."""
        longer = max(self.size)
        return points @ self.matrix[:, :2].T + self.matrix[:, 2] * longer


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The pose that a line's parts are brought to.

    Args:
        mode: what is undone; never `none`.
        pose: of the reference's part.
        thumbnail: the reference, row by row, a byte a pixel, in hexadecimal digits.
        width: of the thumbnail.
        least: smallest correlation with it.
    """

    mode: AlignMode
    pose: Pose
    thumbnail: str
    width: int
    least: float

    def __post_init__(self) -> None:
        pixels = bytes.fromhex(self.thumbnail)
        if self.width < 1 or not pixels or len(pixels) % self.width:
            raise ValueError(f"{len(pixels)} bytes are no thumbnail of {self.width} columns")

    @property
    def key(self) -> str:
        """Names it completely, for cache keys."""
        return f"align:{self}"

    @property
    def in_words(self) -> str:
        """What is done to images, for people."""
        what = "place and turn" if self.mode is AlignMode.RIGID else "place, turn and size"
        return f"aligned in {what} to a part that images correlate with by at least {self.least:.2f}"

    def place(self, image: NDArray[np.uint8]) -> Placement:
        """Find the part of an upright image, uint8 RGB (H, W, 3) of its own proportions."""
        small = _shrunk(image, _SIDE)
        size, pose, correlation = (image.shape[0], image.shape[1]), pose_of(small), 0.0
        if pose is None or not 1 / _LARGEST <= pose.side / self.pose.side <= _LARGEST:
            problem = "no part of about the reference's size stands out from the background"
        elif pose.rim > self.pose.rim + _CUT:
            problem = "the part is cut off at the image's edge"
        else:
            matrix, correlation = self.best(small, pose)
            if correlation >= self.least:
                return Placement(size, matrix, correlation)
            problem = f"it correlates {correlation:.2f} with the reference, and at least {self.least:.2f} is needed"
        return Placement(size, np.eye(2, 3), correlation, f"{NOT_ALIGNED}: {problem}")

    def best(self, small: NDArray[np.uint8], pose: Pose) -> tuple[NDArray[np.float64], float]:
        """The matrix of a `Placement` by which a part of that pose looks most like the reference, and how much."""
        grey = _thumbnail(small)
        still, *turned = ((self._correlation(grey, matrix), matrix) for matrix in self._candidates(pose))
        correlation, matrix = max(turned, key=lambda found: found[0])
        return (matrix, correlation) if correlation > still[0] + _BETTER else (still[1], still[0])

    def as_taken(self, image: NDArray[np.uint8]) -> float:
        """Correlation of an image, uint8 RGB (H, W, 3), with the reference as it lies, -1 to 1."""
        return self._correlation(_thumbnail(_shrunk(image, _SIDE)), np.eye(2, 3))

    def _candidates(self, pose: Pose) -> Iterator[NDArray[np.float64]]:
        scale = pose.side / self.pose.side if self.mode is AlignMode.SIMILARITY else 1.0
        along, box = pose.axis - self.pose.axis, pose.box - self.pose.box
        for turn in (0, along, along + 180, box, box + 90, box + 180, box + 270):
            cos, sin = scale * math.cos(math.radians(turn)), scale * math.sin(math.radians(turn))
            linear = np.array([[cos, -sin], [sin, cos]])
            moved = np.array([pose.x, pose.y]) - linear @ (self.pose.x, self.pose.y)
            yield np.hstack([linear, moved[:, None]])

    def _correlation(self, grey: NDArray[np.float32], matrix: NDArray[np.float64]) -> float:
        size = (grey.shape[0], grey.shape[1])
        seen = _warped(grey, _in_pixels(matrix, size, size), cv2.BORDER_REPLICATE)
        if seen.shape != self._reference.shape:
            seen = cv2.resize(seen, self._reference.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return float((_unit(np.asarray(seen, np.float32)) * self._reference).sum())

    @cached_property
    def _reference(self) -> NDArray[np.float32]:
        """Of length 1, its mean 0."""
        pixels = np.frombuffer(bytes.fromhex(self.thumbnail), np.uint8)
        return _unit(pixels.reshape(-1, self.width).astype(np.float32))


def align_mask(mask: NDArray[np.bool_], placement: Placement | None) -> NDArray[np.bool_]:
    """A defect's mask (h, w) over an image as it was taken, over the aligned one."""
    return mask if placement is None else placement.aligned(mask.astype(np.uint8)) > 0


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
    smalls = [_shrunk(image, _SIDE) for image in good]
    parts = [(small, pose) for small in smalls if (pose := pose_of(small)) is not None]
    if len(parts) < len(smalls):
        return None
    fits: list[tuple[float, float, Alignment]] = []
    for small, pose in parts:
        grey = np.rint(_thumbnail(small)).astype(np.uint8)
        alignment = Alignment(mode=mode, pose=pose, thumbnail=grey.tobytes().hex(), width=grey.shape[1], least=-1.0)
        each = [alignment.best(*other)[1] for other in parts if other[0] is not small] or [1.0]
        fits.append((float(np.mean(each)), min(each), alignment))
    mean, lowest, alignment = max(fits, key=lambda fit: fit[0])
    if lowest < _ALIKE:
        return None
    as_taken = np.mean([alignment.as_taken(small) for small in smalls])
    return Fit(replace(alignment, least=lowest - _MARGIN), mean, float(as_taken))


def pose_of(image: NDArray[np.uint8]) -> Pose | None:
    """Of the part in an image, uint8 RGB (H, W, 3); None: none stands out."""
    inside = estimate_foreground(image)
    if inside.all():
        return None
    moments = cv2.moments(inside.astype(np.uint8), binaryImage=True)
    area, longer = moments["m00"], max(image.shape[:2])
    (outline, *_), _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    corners = cv2.boxPoints(cv2.minAreaRect(outline))
    (across, down) = corners[1] - corners[0]
    return Pose(
        x=(moments["m10"] / area + 0.5) / longer,
        y=(moments["m01"] / area + 0.5) / longer,
        side=math.sqrt(area) / longer,
        axis=math.degrees(math.atan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])) / 2,
        box=math.degrees(math.atan2(down, across)) % 90,
        rim=float(np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]]).mean()),
    )


def _in_pixels(matrix: NDArray[np.float64], shape: Sequence[int], size: tuple[int, int]) -> NDArray[np.float64]:
    """The matrix between pixel centres of an array (H, W, ...) that holds an image of that size, maybe squashed."""
    longer = max(size)
    stretch = np.array([shape[1] * longer / size[1], shape[0] * longer / size[0]])
    linear = matrix[:, :2] * stretch[:, None] / stretch
    return np.hstack([linear, (matrix[:, 2] * stretch + linear @ (0.5, 0.5) - 0.5)[:, None]])


def _warped(values: NDArray[Any], matrix: NDArray[np.float64], border: int, beyond: float = 0.0) -> NDArray[Any]:
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, (values.shape[1], values.shape[0])
    return cv2.warpAffine(values, matrix, size, flags=flags, borderMode=border, borderValue=beyond)


def _shrunk(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """With a longer side of that many pixels."""
    ratio = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * ratio)), max(1, round(image.shape[0] * ratio)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _thumbnail(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.cvtColor(_shrunk(small, _THUMBNAIL), cv2.COLOR_RGB2GRAY).astype(np.float32)


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = values - values.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)
