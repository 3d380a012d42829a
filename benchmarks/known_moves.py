"""How near alignment comes to moves that are known, and whether it tells where it does not: for `benchmarks.alignment`.

An image is laid on its background's colour as it was taken, and moved: both are placed, and the poses must differ by
that move. It is then marred at its edge where it lies, which moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.alignment import Alignment
from pipeline.imaging.placement import Placement
from pipeline.synthetic.defects import estimate_foreground

MOVES = (
    4  # of each image: two by up to 15 degrees, two by any angle; up to 5 per cent far and a tenth larger or smaller
)
FAR = 0.03  # of the longer side, at the most that any of four points around the part's middle is off
STILL = np.zeros(2)

Image = NDArray[np.uint8]
Laid = Callable[[Image, float, float, NDArray[np.float64]], Image]


def moved_rows(
    name: str, alignment: Alignment, images: Sequence[Image], laid: Laid, rng: np.random.Generator
) -> list[list[str]]:
    """A row of the moves and one of each way in which images are marred.

    Args:
        name: of the line.
        alignment: of its support.
        images: of other parts, uint8 RGB (H, W, 3).
        laid: lays a part anew, by degrees, a scale and a shift in shares of the longer side.
        rng: of moves and marks.
    """
    rows: dict[str, list[float | None]] = {case: [] for case in ("moved", *MARKS)}
    for image in images:
        as_it_lay = laid(image, 0, 1, STILL)
        still = alignment.place(as_it_lay)
        if still.problem is not None:
            continue
        for move in range(MOVES):
            turn = rng.uniform(-15, 15) if move < MOVES // 2 else rng.uniform(0, 360)
            scale, shift = 1.1 ** rng.uniform(-1, 1), 0.05 * rng.uniform(-1, 1, 2)
            known = _known(image.shape, turn, scale, shift)
            found = alignment.place(laid(image, turn, scale, shift))
            rows["moved"].append(_off(alignment, still, found, known))
        for name_of_mark, mark in MARKS.items():
            found = alignment.place(mark(as_it_lay, estimate_foreground(as_it_lay), rng))
            rows[name_of_mark].append(_off(alignment, still, found, (np.eye(2), np.zeros(2))))
    return [[name, case, *_cells(found)] for case, found in rows.items()]


def _cells(off: Sequence[float | None]) -> list[str]:
    untold = [distance for distance in off if distance is not None]
    if not untold:
        return [str(len(off)), str(len(off)), "-", "-", "-"]
    far = sum(distance > FAR for distance in untold)
    figures = [f"{100 * np.median(untold):.2f}", str(far), f"{100 * max(untold):.1f}"]
    return [str(len(off)), str(len(off) - len(untold)), *figures]


def _known(
    shape: Sequence[int], turn: float, scale: float, shift: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The move as a matrix and a vector of places in lengths of the longer side."""
    (height, width), longer = shape[:2], max(shape[:2])
    matrix = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, scale), np.float64)
    linear = matrix[:, :2]
    return linear, (matrix[:, 2] + shift * longer + 0.5 - linear @ (0.5, 0.5)) / longer


def _off(
    alignment: Alignment,
    still: Placement,
    found: Placement,
    known: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> float | None:
    """How far the farthest point of the part is off, in lengths of the longer side; None: it is told as not aligned.

    Turns that are not undone are no part of it.
    """
    if found.problem is not None:
        return None
    pose, reach = alignment.pose, alignment.pose.side / 2
    centre = np.array([pose.x, pose.y])
    points = centre + reach * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])
    (linear, moved) = known
    expected = _through(still.matrix, points) @ linear.T + moved
    if not alignment.turns:
        size = math.sqrt(abs(np.linalg.det(linear @ still.matrix[:, :2])))
        expected = expected[0] + size * (points - centre)
    return float(np.linalg.norm(expected - _through(found.matrix, points), axis=1).max())


def _through(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:, :2].T + matrix[:, 2]


def _edge_point(inside: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int]:
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)[:, 0]
    x, y = outline[rng.integers(len(outline))]
    return int(x), int(y)


def _with_scrap(image: Image, inside: NDArray[np.bool_], rng: np.random.Generator) -> Image:
    """Of the part's colour, 6 to 16 per cent of the longer side, at its edge."""
    axes = (int(max(image.shape) * rng.uniform(0.03, 0.08)), int(max(image.shape) * rng.uniform(0.03, 0.08)))
    colour = tuple(float(value) for value in image[inside].mean(0))
    angle, place = rng.uniform(0, 180), _edge_point(inside, rng)
    return cv2.ellipse(image.copy(), place, axes, angle, 0, 360, colour, -1).astype(np.uint8)


def _with_a_piece_missing(image: Image, inside: NDArray[np.bool_], rng: np.random.Generator) -> Image:
    """A round one at its edge, 0.15 to 0.35 of the root of its area in radius."""
    radius = int(math.sqrt(inside.sum()) * rng.uniform(0.15, 0.35))
    return cv2.circle(image.copy(), _edge_point(inside, rng), radius, image[0, 0].tolist(), -1).astype(np.uint8)


def _with_shadow(image: Image, inside: NDArray[np.bool_], rng: np.random.Generator) -> Image:
    """Its own, 4 to 10 per cent of the longer side to one side of it, a third darker than the background."""
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.04, 0.1) * max(image.shape)
    matrix = np.array([[1, 0, far * np.cos(angle)], [0, 1, far * np.sin(angle)]])
    size = (image.shape[1], image.shape[0])
    cast = cv2.warpAffine(inside.astype(np.float32), matrix, size)
    cast = cv2.GaussianBlur(cast, (0, 0), max(image.shape) * 0.008) * ~inside
    return np.rint(image * (1 - 0.35 * cast[..., None])).astype(np.uint8)


MARKS = {"a scrap at its edge": _with_scrap, "a piece missing": _with_a_piece_missing, "a shadow": _with_shadow}
