"""Where things stand in a line's images: an image's profiles, fitted by those of the line's first ones.

A profile of columns (or rows) that stands a little elsewhere is about the reference, less the shift times its slope; of
a camera that came nearer the shift grows from the middle outwards. So four coefficients of one least-squares fit an
image tell the light's offset and gain, the shift and the zoom, and what is left over: another picture. NumPy only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.look_figures import PROFILE

PLACE = ("across", "down", "zoom", "picture")
"""What is told of an image: shift to the right and downwards, in widths and heights of the image; how much larger
things are; the share of the profiles' variance that no shift, zoom or light explains."""

STEADY = 50
"""Images whose mean is the reference."""

_OUTWARDS = (np.arange(PROFILE) + 0.5) / PROFILE - 0.5
_LEAST_GAIN = 0.2  # of an image that has little to do with the reference, or is dark


class Place:
    """The places of a line's images: the first `STEADY` make the reference, and themselves have none.

    Attributes:
        total: (2 * PROFILE,) the sum of their profiles.
        images: how many those are so far.
    """

    def __init__(self) -> None:
        self.total = np.zeros(2 * PROFILE)
        self.images = 0

    def numbers(self, profiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """The places (M, 4), as `PLACE` names them, of the first M >= 1 of N profiles (N, 2 * PROFILE).

        NaN where an image has no profiles, as those have that become part of the reference.
        """
        if self.images == STEADY:
            return places(profiles, self.total / STEADY)
        first = profiles[: STEADY - self.images]
        there = first[np.isfinite(first[:, 0])]
        self.total += there.sum(0)
        self.images += len(there)
        return np.full((len(first), len(PLACE)), np.nan)


def places(profiles: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The places (N, 4) of profiles (N, 2 * PROFILE) beside a reference (2 * PROFILE,)."""
    across, down = (
        _fit(part, known)
        for part, known in zip(np.split(profiles, 2, axis=1), np.split(reference, 2), strict=True)
    )
    return np.stack([across.shift, down.shift, (across.zoom + down.zoom) / 2, (across.rest + down.rest) / 2], 1)


class _Fit(NamedTuple):
    """Of N profiles of one direction, (N,) each."""

    shift: NDArray[np.float64]
    zoom: NDArray[np.float64]
    rest: NDArray[np.float64]


def _fit(profiles: NDArray[np.float64], reference: NDArray[np.float64]) -> _Fit:
    slope = np.gradient(reference) * PROFILE
    parts = np.stack([np.ones(PROFILE), reference, -slope, -_OUTWARDS * slope], 1)
    weights = profiles @ np.linalg.pinv(parts).T
    gain = np.maximum(weights[:, 1], _LEAST_GAIN)
    rest = ((profiles - weights @ parts.T) ** 2).mean(1) / (profiles.var(1) + 1)  # a grey level is noise
    return _Fit(weights[:, 2] / gain, weights[:, 3] / gain, rest)


def moved(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """The place of one mean profile beside another, (2 * PROFILE,) each, also where it is far: fitted in steps."""
    across, down, zoom, rest = 0.0, 0.0, 0.0, 1.0
    for _ in range(20):
        reference = np.concatenate([
            _warped(part, shift, zoom) for part, shift in zip(np.split(before, 2), (across, down), strict=True)
        ])
        step = places(after[None], reference)[0]
        across, down, zoom = (
            float(np.clip(value, -0.5, 0.5))
            for value in (across + step[0] / 2, down + step[1] / 2, zoom + step[2] / 2)
        )
        rest = float(step[3])
    return across, down, zoom, rest


def _warped(profile: NDArray[np.float64], shift: float, zoom: float) -> NDArray[np.float64]:
    return np.interp((_OUTWARDS - shift) / (1 + zoom), _OUTWARDS, profile)
