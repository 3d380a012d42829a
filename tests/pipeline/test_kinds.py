"""Kinds of defects: the nearest prototype, how sure that is, and none of them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.kinds import NONE_OF_THESE, LearnedKinds, Units, Values, learn_kinds, marked_cells

UNITS = Units((np.zeros(4, np.float32), np.zeros(2, np.float32)), (np.eye(4, dtype=np.float32), None))
DIRECTIONS = {"crack": [1.0, 0, 0, 0], "scratch": [0, 1.0, 0, 0], "stain": [0, 0, 1.0, 0]}
MAP = np.array([[0.0, 0, 0, 0], [0, 2, 2, 0], [0, 2, 2, 0], [0, 0, 0, 0]], np.float32)


def image(direction: list[float], seed: int, noise: float = 0.2) -> list[Values]:
    """Features that lie in a direction where the map is high, and in others elsewhere."""
    rng = np.random.default_rng(seed)
    fine = rng.normal(0, 1, (4, 4, 4)).astype(np.float32)
    fine[:, 1:3, 1:3] = (np.array(direction) + rng.normal(0, noise, 4))[:, None, None]
    return [fine, np.ones((2, 2, 2), np.float32)]


def learned(each: int, noise: float = 0.2) -> LearnedKinds:
    names = [name for name in DIRECTIONS for _ in range(each)]
    described = np.stack([UNITS.describe(image(DIRECTIONS[name], seed, noise), MAP) for seed, name in enumerate(names)])
    return learn_kinds(names, UNITS, described, described)


@pytest.mark.parametrize("each", [1, 4])
def test_an_image_is_given_the_kind_whose_images_it_is_like(each: int) -> None:
    kinds = learned(each).kinds
    assert kinds.names == ("crack", "scratch", "stain")
    for name, direction in DIRECTIONS.items():
        said = kinds.kind_of(image(direction, 100, noise=0.05), MAP, pixel_threshold=1.0)
        assert said.name == name
        assert said.probability is not None
        assert 1 / 3 < said.probability <= 1


def test_what_no_kind_looks_like_is_none_of_these_where_the_lines_own_images_can_tell() -> None:
    unlike = [-1.0, -1.0, -1.0, 3.0]
    assert learned(4, noise=0.05).kinds.kind_of(image(unlike, 100), MAP, 1.0) == (NONE_OF_THESE, None)
    assert learned(1, noise=0.05).kinds.kind_of(image(unlike, 100), MAP, 1.0).name != NONE_OF_THESE


def test_how_well_kinds_are_told_apart_is_counted_without_the_image_itself() -> None:
    confusion = learned(4, noise=0.05).confusion
    assert confusion.shape == (3, 4)
    assert confusion.sum(1).tolist() == [4, 4, 4]
    assert np.trace(confusion[:, :3]) >= 9
    assert not learned(1).confusion.any()


def test_it_is_less_sure_of_kinds_that_it_confuses() -> None:
    apart, alike = learned(6, noise=0.02).kinds, learned(6, noise=2.0).kinds
    assert apart.temperature < alike.temperature


def test_cells_count_by_what_is_above_the_threshold_or_as_the_highest() -> None:
    np.testing.assert_array_equal(marked_cells(MAP, 0.5), np.where(MAP > 0, np.float32(1.5), np.float32(0)))
    np.testing.assert_array_equal(marked_cells(MAP, 5.0), (MAP == 2).astype(np.float32))
