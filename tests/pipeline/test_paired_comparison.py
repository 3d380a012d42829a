"""Two models on the same images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.metrics import image_auroc
from pipeline.paired_comparison import auroc_difference, chance_of_more


@pytest.mark.parametrize(("more", "fewer"), [(0, 0), (0, 3), (1, 0), (2, 0), (5, 2), (40, 22)])
def test_the_chance_is_that_of_the_exact_test(more: int, fewer: int) -> None:
    expected = binomtest(more, more + fewer, alternative="greater").pvalue if more + fewer else 1.0
    assert chance_of_more(more, fewer) == pytest.approx(expected)


def test_a_model_that_ranks_worse_has_an_interval_below_nought() -> None:
    rng = np.random.default_rng(1)
    good, defective = rng.normal(0, 1, 60), rng.normal(3, 1, 40)
    noisy = good + rng.normal(0, 3, 60), defective + rng.normal(0, 3, 40)
    first, second, (lowest, highest) = auroc_difference(*noisy, good, defective)
    labels = np.repeat([False, True], [60, 40])
    assert first == pytest.approx(image_auroc(np.concatenate(noisy), labels))
    assert second == pytest.approx(image_auroc(np.concatenate([good, defective]), labels))
    assert lowest < first - second < highest < 0


def test_equal_models_differ_by_nothing() -> None:
    scores = np.array([1.0, 2.0, 2.0]), np.array([2.0, 3.0])
    assert auroc_difference(*scores, *scores) == (pytest.approx(5 / 6), pytest.approx(5 / 6), (0.0, 0.0))
