"""How far an ONNX graph may be from the torch module it came from, and one device from another.

Torch-free: it compares arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deploy.engine.scores import HEAD_OUTPUTS
from pipeline.errors import ParityError

TOLERANCE = 1e-3
"""Accepted error of scores and maps, relative to the largest value of the torch output (at least 1)."""

_TIE_FACTOR = 50.0
# A patch that is as near to one bank row as to another, to the last bit, is matched with either; its residual, and
# what a head makes of it, then jumps. Measured on generated lines: 1 cell in about 4,000, by up to 0.014. So nearly
# all cells and the typical score are held to the tolerance, and nothing at all may be farther off than this many.
_MOST_CELLS = 0.99


class Sides(NamedTuple):
    """What is compared with what, and what to do when they disagree: the words of the error."""

    reference: str
    candidate: str
    remedy: str


EXPORT = Sides(
    "torch",
    "ONNX",
    "do not use this export; check the installed torch and onnxruntime versions against the supported ones",
)
"""An exported graph against the torch module it came from."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far two ways to compute a head are apart over `images` images: ONNX and torch, or two devices.

    Every error is an absolute difference, divided by the largest reference value where that exceeds 1.

    Args:
        max_score_error: of the worst image.
        max_map_error: of the worst cell.
        typical_map_error: the 99 % quantile over the cells.
        tolerance: what the median score error and the typical map error were held to; the worst may be 50 times as
            far off, since equally near bank rows are a toss-up.
        images: how many images were compared.
        nearest_agreement: fraction of cells that name the same bank row, 0..1; told, not judged, for the same reason.
    """

    max_score_error: float
    max_map_error: float
    typical_map_error: float
    tolerance: float
    images: int
    nearest_agreement: float


def compare_outputs(
    expected: Sequence[NDArray[np.generic]],
    got: Sequence[NDArray[np.generic]],
    tolerance: float,
    sides: Sides = EXPORT,
) -> Parity:
    """Judge a head's outputs (`HEAD_OUTPUTS`) by those of the reference.

    Raises:
        ParityError: another shape or dtype, a difference beyond the tolerance, or a value that is not finite.
    """
    for name, reference, candidate in zip(HEAD_OUTPUTS, expected, got, strict=True):
        if reference.shape != candidate.shape or reference.dtype != candidate.dtype:
            raise ParityError(
                expected=f"{name} as {reference.dtype} {reference.shape}, as in {sides.reference}",
                got=f"{candidate.dtype} {candidate.shape} from {sides.candidate}",
                remedy="report this head; its graph depends on the data",
            )
    scores, maps = _errors(expected[0], got[0]), _errors(expected[1], got[1])
    parity = Parity(
        max_score_error=float(scores.max()),
        max_map_error=float(maps.max()),
        typical_map_error=float(np.quantile(maps, _MOST_CELLS)),
        tolerance=tolerance,
        images=len(expected[0]),
        nearest_agreement=float(np.mean(expected[2] == got[2])),
    )
    for what, error, limit in (
        ("scores", float(np.median(scores)), tolerance),
        ("scores", parity.max_score_error, tolerance * _TIE_FACTOR),
        ("maps", parity.typical_map_error, tolerance),
        ("maps", parity.max_map_error, tolerance * _TIE_FACTOR),
    ):
        if not error <= limit:  # so that NaN fails
            raise disagreement(what, error, limit, sides)
    return parity


def relative_error(expected: NDArray[np.generic], got: NDArray[np.generic]) -> float:
    """Largest absolute difference over the largest expected magnitude (at least 1); NaN when a value is not finite."""
    return float(_errors(expected, got).max())


def _errors(expected: NDArray[np.generic], got: NDArray[np.generic]) -> NDArray[np.float64]:
    reference = np.asarray(expected, np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(reference - np.asarray(got, np.float64))
        errors = difference / max(1.0, float(np.abs(reference).max()))
    return np.where(np.isfinite(errors), errors, np.nan)  # NaN in the smallest cell fails every comparison


def disagreement(what: str, error: float, tolerance: float, sides: Sides = EXPORT) -> ParityError:
    """The error that says so."""
    return ParityError(
        expected=f"{sides.candidate} {what} within {tolerance:g} of {sides.reference}'s",
        got=f"a difference of {error:g}",
        remedy=sides.remedy,
    )
