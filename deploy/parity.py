"""How far an ONNX graph may be from the torch module it came from. Torch-free: it compares arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.runtime import HEAD_OUTPUTS
from pipeline.errors import ParityError

TOLERANCE = 1e-3
"""Largest accepted error, relative to the largest value of the torch output (at least 1)."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far ONNX and torch are apart over `images` images.

    Args:
        max_score_error: largest absolute difference, divided by the largest torch value where that exceeds 1.
        max_map_error: likewise, of the anomaly maps.
        tolerance: what they were held against.
        images: how many images were compared.
        nearest_agreement: fraction of cells that name the same bank row, 0..1; equal patches make ties, so that this
            is told and not judged.
    """

    max_score_error: float
    max_map_error: float
    tolerance: float
    images: int
    nearest_agreement: float


def compare_outputs(
    expected: Sequence[NDArray[np.generic]], got: Sequence[NDArray[np.generic]], tolerance: float
) -> Parity:
    """Judge a head's ONNX outputs (`HEAD_OUTPUTS`) by those of torch.

    Raises:
        ParityError: another shape or dtype, a difference beyond the tolerance, or a value that is not finite.
    """
    for name, torch_value, onnx_value in zip(HEAD_OUTPUTS, expected, got, strict=True):
        if torch_value.shape != onnx_value.shape or torch_value.dtype != onnx_value.dtype:
            raise ParityError(
                expected=f"{name} as {torch_value.dtype} {torch_value.shape}, as in torch",
                got=f"{onnx_value.dtype} {onnx_value.shape} from ONNX",
                remedy="report this head; its graph depends on the data",
            )
    parity = Parity(
        max_score_error=relative_error(expected[0], got[0]),
        max_map_error=relative_error(expected[1], got[1]),
        tolerance=tolerance,
        images=len(expected[0]),
        nearest_agreement=float(np.mean(expected[2] == got[2])),
    )
    worst = max(("scores", parity.max_score_error), ("maps", parity.max_map_error), key=lambda pair: _rank(pair[1]))
    if not worst[1] <= tolerance:
        raise disagreement(worst[0], worst[1], tolerance)
    return parity


def _rank(error: float) -> float:
    return float("inf") if np.isnan(error) else error


def relative_error(expected: NDArray[np.generic], got: NDArray[np.generic]) -> float:
    """Largest absolute difference over the largest expected magnitude (at least 1); NaN when one is not finite."""
    reference = np.asarray(expected, np.float64)
    difference = np.abs(reference - np.asarray(got, np.float64))
    return float(difference.max() / max(1.0, float(np.abs(reference).max())))


def disagreement(what: str, error: float, tolerance: float) -> ParityError:
    """The error that says so."""
    return ParityError(
        expected=f"ONNX {what} within {tolerance:g} of torch's",
        got=f"a difference of {error:g}",
        remedy="do not use this export; check the installed torch and onnxruntime versions against the supported ones",
    )
