"""How a part is turned against a reference, and how sure that is. Torch-free.

Both are read along circles around the part's centre. A turn of the part is then a shift of all circles, and how much
they look like the reference's at every shift is a circular cross-correlation, which one Fourier transform gives (as the
rotation in Reddy and Chatterji 1996, "An FFT-based technique for translation, rotation, and scale-invariant image
registration", with the centre known). Another turn that fits nearly as well, though the reference looks otherwise in
it, says that the turn cannot be told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_STEPS, _RINGS = 128, 24
_REACH = 0.75
"""Of the largest circle's radius, in roots of the part's area: the corners of a square are 0.71 from its middle."""
_APART = 22  # degrees: nearer than that it is the same peak
_BLUR = 1.0  # pixels: the steps of a slanting edge are no mark of a part
_SAME = 0.004
"""In correlation: turns that the reference looks so much the same in need not be told from one another, as an oval's or
a square's (0.002 at most). A faint print on an oval makes 0.004, that of a real pill 0.024 and more."""


class Circles(NamedTuple):
    """A part along circles around its centre.

    Args:
        values: float32 (steps, rings), each ring's mean taken off and weighted by its length; of norm 1.
        share: of all that differs within the largest circle, how much is not the same all around, 0 to 1; near 0 of
            round parts.
    """

    values: NDArray[np.float32]
    share: float


class Turn(NamedTuple):
    """Of a part against the reference.

    Args:
        degrees: from x towards y, -180 to 180.
        rival: the other turn that is hardest to tell from it, likewise; of those in which the reference looks the same
            the smallest is taken, and none is a rival.
        certainty: by how much more the first correlates than the rival, in units of how much more the reference
            correlates with itself than with itself turned from the one to the other. 0: both fit alike; near 1: as
            clear as it can be.
    """

    degrees: float
    rival: float
    certainty: float


def circles_around(grey: NDArray[np.float32], centre: tuple[float, float], root_of_area: float) -> Circles:
    """Read a part along circles.

    Args:
        grey: (h, w); beyond its border it goes on.
        centre: of the part, x and y in pixels, 0 in the middle of the first one.
        root_of_area: of the part, in pixels.
    """
    angles = 2 * np.pi * np.arange(_STEPS) / _STEPS
    radii = _REACH * root_of_area * (np.arange(_RINGS) + 0.5) / _RINGS
    across, down = (centre[i] + np.outer(turned(angles), radii) for i, turned in enumerate((np.cos, np.sin)))
    smooth = cv2.GaussianBlur(grey, (0, 0), _BLUR)
    seen = np.asarray(
        cv2.remap(
            smooth,
            across.astype(np.float32),
            down.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float64,
    )
    means = seen.mean(0)
    uneven = (seen - means) * np.sqrt(radii)
    own = float((uneven**2).sum())
    between = _STEPS * float((radii * (means - np.average(means, weights=radii)) ** 2).sum())
    return Circles((uneven / max(math.sqrt(own), 1e-6)).astype(np.float32), own / max(own + between, 1e-6))


def turn_between(reference: Circles, part: Circles) -> Turn:
    """How a part is turned against the reference."""
    fits, differs = _fits(reference, part), 1 - _fits(reference, reference)
    top = int(fits.argmax())
    peaks = np.flatnonzero((fits >= np.roll(fits, 1)) & (fits >= np.roll(fits, -1)))
    between = differs[(peaks - top) % _STEPS]
    alike = (peaks == top) | ((between < _SAME) & (fits[peaks] > fits[top] - _SAME))
    best = min(peaks[alike], key=lambda step: abs(_degrees(step)))
    rivals = peaks[(between >= _SAME) & (np.abs(_degrees(peaks - top)) > _APART)]
    if not rivals.size:
        return Turn(_degrees(_peak(fits, best)), _degrees(best + _STEPS / 2), 1.0)
    certainties = (fits[top] - fits[rivals]) / differs[(rivals - top) % _STEPS]
    worst = int(certainties.argmin())
    return Turn(_degrees(_peak(fits, best)), _degrees(rivals[worst]), float(certainties[worst]))


def pairwise_turns(parts: Sequence[Circles]) -> list[Turn]:
    """Of every part against every other, each pair both ways."""
    return [turn_between(one, other) for one in parts for other in parts if other is not one]


def _fits(reference: Circles, part: Circles) -> NDArray[np.float64]:
    """Correlation at each step that the part may be turned by."""
    spectra = np.fft.rfft(reference.values, axis=0).conj() * np.fft.rfft(part.values, axis=0)
    return np.fft.irfft(spectra.sum(1), n=_STEPS)


def _peak(fits: NDArray[np.float64], best: int) -> float:
    """The top of the parabola through the best step and its neighbours, in steps."""
    before, top, after = fits[best - 1], fits[best], fits[(best + 1) % _STEPS]
    bend = before - 2 * top + after
    return best + (float(0.5 * (before - after) / bend) if bend < -1e-9 else 0.0)


def _degrees(steps: Any) -> Any:
    return (steps * 360 / _STEPS + 180) % 360 - 180
