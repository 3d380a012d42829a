"""Two models on the same images: is one worse, or is it the luck of few images?

Shape letters: G good images, D defective ones.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_DRAWS = 1000
_COVERAGE = 0.9


def chance_of_more(more: int, fewer: int) -> float:
    """The chance that at least `more` of the images on which two equal models differ speak against one of them.

    The exact, one-sided form of McNemar's test (1947): where both models are equally good, an image on which they
    differ speaks against either with one half.

    Args:
        more: images that speak against it.
        fewer: images that speak against the other.

    Returns:
        0..1; 1 where none speaks against it.
    """
    n = more + fewer
    return sum(math.comb(n, count) for count in range(more, n + 1)) / 2**n


def auroc_difference(
    one_G: NDArray[np.float64], one_D: NDArray[np.float64], other_G: NDArray[np.float64], other_D: NDArray[np.float64]
) -> tuple[float, float, tuple[float, float]]:
    """How well two models' scores of the same images rank the defective ones above the good ones.

    Args:
        one_G: scores of the good images by one model, higher is more anomalous.
        one_D: its scores of the defective ones.
        other_G: the other model's scores of the same good images.
        other_D: and of the same defective ones.

    Returns:
        The image AUROC of each, 0..1, ties counting half; and the interval in which nine of ten differences, the first
        less the second, lie when good and defective images are drawn anew (a paired bootstrap).
    """
    first, second = _above(one_G, one_D), _above(other_G, other_D)
    rng, (g, d) = np.random.default_rng(0), first.shape
    good = rng.multinomial(g, np.full(g, 1 / g), _DRAWS) / g
    defective = rng.multinomial(d, np.full(d, 1 / d), _DRAWS) / d
    drawn = ((good @ (first - second)) * defective).sum(1)
    lowest, highest = np.quantile(drawn, [(1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2])
    return float(first.mean()), float(second.mean()), (float(lowest), float(highest))


def _above(good_G: NDArray[np.float64], defective_D: NDArray[np.float64]) -> NDArray[np.float64]:
    """(G, D): 1 where the defective image scores higher, one half where both score alike."""
    good = good_G[:, None]
    return (defective_D > good) + 0.5 * (defective_D == good)
