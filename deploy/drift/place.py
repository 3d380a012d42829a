"""Where things stand in a line's images: an image's profiles, fitted by those of the line's first ones.

A profile of columns (or rows) that stands a little elsewhere is about the reference, less the shift times its slope; of
a camera that came nearer the shift grows from the middle outwards. So four coefficients of one least-squares fit an
image tell the light's offset and gain, the shift and the zoom, and what is left over: another picture. What is as
smooth as uneven light (a parabola) is taken away before. NumPy only.
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
_STEPS = 30
_LIGHT = np.stack([np.ones(PROFILE), _OUTWARDS, _OUTWARDS**2], 1)
_EVEN = np.eye(PROFILE) - _LIGHT @ np.linalg.pinv(_LIGHT)  # takes uneven light away: it would pass for a shift or zoom
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
        _fit(part, known) for part, known in zip(np.split(profiles, 2, axis=1), np.split(reference, 2), strict=True)
    )
    return np.stack([across.shift, down.shift, (across.zoom + down.zoom) / 2, (across.rest + down.rest) / 2], 1)


class _Fit(NamedTuple):
    """Of N profiles of one direction, (N,) each."""

    shift: NDArray[np.float64]
    zoom: NDArray[np.float64]
    rest: NDArray[np.float64]


def _fit(profiles: NDArray[np.float64], reference: NDArray[np.float64]) -> _Fit:
    slope = np.gradient(reference) * PROFILE
    parts = np.stack([reference, -slope, -_OUTWARDS * slope], 1)
    parts, found = _EVEN @ parts, profiles @ _EVEN
    weights = found @ np.linalg.pinv(parts).T
    gain = np.maximum(weights[:, 0], _LEAST_GAIN)
    rest = ((found - weights @ parts.T) ** 2).mean(1) / ((found**2).mean(1) + 1)  # a grey level is noise
    return _Fit(weights[:, 1] / gain, weights[:, 2] / gain, rest)


class Move(NamedTuple):
    """How one mean profile stands beside another, of columns or rows; see `PLACE`.

    `still` and `rest` are the shares of its variance that the light alone, and a shift and a zoom, leave unexplained.
    """

    shift: float
    zoom: float
    still: float
    rest: float


def moves(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[Move, Move]:
    """How things moved across and down, between mean profiles (2 * PROFILE,): also far, as they are fitted in steps."""
    across, down = (_move(*pair) for pair in zip(np.split(before, 2), np.split(after, 2), strict=True))
    return across, down


def unlikeness(profiles: NDArray[np.float64]) -> float:
    """How far a line's images (N, 2 * PROFILE) show no one picture: what their mean leaves unexplained of half of them,
    the light apart; a share of an image's variance.
    """
    mean = np.split(profiles.mean(0), 2)
    each = [
        np.mean([_unexplained(known, part) for known, part in zip(mean, np.split(profile, 2), strict=True)])
        for profile in profiles
    ]
    return float(np.median(each))


def _move(before: NDArray[np.float64], after: NDArray[np.float64]) -> Move:
    shift, zoom = 0.0, 0.0
    still = _unexplained(before, after)
    best = Move(0.0, 0.0, still, still)
    for _ in range(_STEPS):
        step = _fit(after[None], _warped(before, shift, zoom))
        shift = float(np.clip(shift + step.shift[0] / 2, -0.5, 0.5))
        zoom = float(np.clip(zoom + step.zoom[0] / 2, -0.5, 0.5))
        rest = _unexplained(_warped(before, shift, zoom), after)
        if rest < best.rest:
            best = Move(shift, zoom, still, rest)
    return best


def _unexplained(reference: NDArray[np.float64], profile: NDArray[np.float64]) -> float:
    """The share of a profile's variance that no gain of a reference explains."""
    known, found = _EVEN @ reference, _EVEN @ profile
    gain = known @ found / (known @ known + PROFILE)
    return float(((found - gain * known) ** 2).mean() / ((found**2).mean() + 1e-9))


def _warped(profile: NDArray[np.float64], shift: float, zoom: float) -> NDArray[np.float64]:
    return np.interp((_OUTWARDS - shift) / (1 + zoom), _OUTWARDS, profile)
