"""What other lines teach of defects, in a line's own units."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from model_zoo.heads.learned_direction import LearnedCoefficients, LearnedDirection, Shown, learned_strength

CHANNELS, GRIDS = (4, 3), ((8, 8), (4, 4))
STRENGTH = 0.1


def maps(seed: int, shift: float = 0.0, scale: float = 1.0, count: int = 3) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    drawn = (torch.randn(count, c, *grid, generator=generator) for c, grid in zip(CHANNELS, GRIDS, strict=True))
    return tuple(scale * level + shift for level in drawn)


def learned(kind: str, weight: float = 0.2, scale: float = 1.0) -> LearnedDirection:
    coefficients = []
    for channels in CHANNELS:
        zeros = dict.fromkeys(LearnedCoefficients._fields, torch.zeros(channels))
        coefficients.append(LearnedCoefficients(**{**zeros, kind: torch.full((channels,), weight)}))
    return LearnedDirection(maps(1, 2.0, scale), maps(2, 0.0, scale), coefficients, (8, 8), strength=STRENGTH)


def added(found: LearnedDirection, levels: Sequence[Tensor], residuals: Sequence[Tensor]) -> float:
    return float(found(tuple(levels), tuple(residuals)).mean())


def test_where_nothing_was_learned_nothing_is_added():
    assert torch.equal(learned("features", 0.0)(maps(9, 50.0), maps(8, 50.0)), torch.zeros(3, 8, 8))


@pytest.mark.parametrize("kind", ["features", "residuals", "magnitudes"])
def test_it_is_at_most_nine_standard_deviations_strong_and_on_the_finest_grid(kind: str):
    found = learned(kind)(maps(9, 50.0), maps(8, 50.0))
    assert found.shape == (3, 8, 8)
    assert torch.allclose(found, torch.tensor(9 * STRENGTH))
    assert float(learned(kind)(maps(3, 2.0), maps(4)).mean()) < STRENGTH


def test_features_and_residuals_have_a_way_and_magnitudes_have_none():
    for kind, both in (("features", False), ("residuals", False), ("magnitudes", True)):
        found = learned(kind)
        up, down = (
            added(found, maps(9, 2.0 + 3 * way * (kind == "features")), maps(8, 3 * way * (kind != "features")))
            for way in (1, -1)
        )
        assert up > 0.15
        assert (down > 0.15) is both


def test_units_are_the_lines_own():
    near = learned("residuals")(maps(9, 2.0), maps(8, 3.0))
    far = learned("residuals", scale=7.0)(maps(9, 2.0, 7.0), maps(8, 21.0, 7.0))
    assert torch.allclose(near, far, atol=1e-4)


def test_the_more_a_line_shows_the_less_others_say():
    assert [round(learned_strength(Shown(1, m)), 4) for m in (0, 1, 4)] == [0.15, 0.1, 0.05]
    assert [round(learned_strength(Shown(k, 0)), 4) for k in (1, 6, 56)] == [0.15, 0.075, 0.0125]
