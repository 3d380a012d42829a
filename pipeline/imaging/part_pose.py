"""The part that stands out from an image's background, and how it lies. Torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.turns import Circles, circles_around
from pipeline.synthetic.defects import estimate_foreground

_SIDE = 128  # of the copy in which the part is found; its pose is then within some 0.2 pixels of it
_THUMBNAIL = 64  # of the copy that is compared


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a part lies, in lengths of the image's longer side, from the outer corner of its first pixel.

    Args:
        x: of its centre.
        y: likewise.
        side: root of its area.
        rim: share of the image's edge that it covers.
        axis: nothing goes by it any longer, nor by `box`: bundles of formats 11 to 15 turned parts by their outlines.
        box: likewise.
    """

    x: float
    y: float
    side: float
    rim: float
    axis: float | None = None
    box: float | None = None


class Part(NamedTuple):
    """A part in a small copy of its image.

    Args:
        pose: how it lies.
        grey: float32 (h, w), 0 to 255, a copy of the image's own proportions.
        inside: float32 (h, w), the share of each pixel that it covers.
        hollow: how deep its outline goes into its convex hull, in roots of its area; 0: it is convex.
        circles: its grey copy along circles around its centre.
    """

    pose: Pose
    grey: NDArray[np.float32]
    inside: NDArray[np.float32]
    hollow: float
    circles: Circles


def part_of(image: NDArray[np.uint8]) -> Part | None:
    """The part in an image, uint8 RGB (H, W, 3); None: none stands out."""
    small = _shrunk(image, _SIDE)
    covered = estimate_foreground(small)
    if covered.all():
        return None
    inside = covered.astype(np.float32)
    moments = cv2.moments(inside)
    longer = max(inside.shape)
    pose = Pose(
        x=(moments["m10"] / moments["m00"] + 0.5) / longer,
        y=(moments["m01"] / moments["m00"] + 0.5) / longer,
        side=math.sqrt(moments["m00"]) / longer,
        rim=float(np.concatenate([covered[0], covered[-1], covered[:, 0], covered[:, -1]]).mean()),
    )
    grey = cv2.cvtColor(_shrunk(small, _THUMBNAIL), cv2.COLOR_RGB2GRAY).astype(np.float32)
    share = np.asarray(cv2.resize(inside, grey.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    return Part(pose, grey, share, _hollow(covered) / (pose.side * longer), along(grey, pose))


def along(grey: NDArray[np.float32], pose: Pose) -> Circles:
    """A part that lies so in a grey copy (h, w), along circles."""
    longer = max(grey.shape)
    return circles_around(grey, (pose.x * longer - 0.5, pose.y * longer - 0.5), pose.side * longer)


def _hollow(covered: NDArray[np.bool_]) -> float:
    """How far within its convex hull a part (h, w) lacks a pixel, at most, in pixels beyond the hull's outermost."""
    padded = np.pad(covered.astype(np.uint8), 1)  # beyond the image is beyond the hull
    outlines, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(np.concatenate(outlines))
    within = cv2.distanceTransform(cv2.fillConvexPoly(np.zeros_like(padded), hull, [1]), cv2.DIST_L2, 5)
    return max(0.0, float(within[padded == 0].max()) - 1)


def _shrunk(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """With a longer side of that many pixels."""
    ratio = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * ratio)), max(1, round(image.shape[0] * ratio)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
