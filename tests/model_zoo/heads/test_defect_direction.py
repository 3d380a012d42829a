"""The direction of defects: what a prior of other lines' defects does to it."""

from __future__ import annotations

import pytest
import torch

from model_zoo.heads.defect_direction import Cells, Coefficients, DefectDirection, direction_strength

CHANNELS = 6
GROUPS = (((0, 4), (4, 6)),)


def cells(count: int, seed: int, shift: float = 0.0) -> Cells:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(2, count, CHANNELS, generator=generator) * torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0])
    return Cells(*(drawn + shift))


def direction(defects: int, prior: float | None, strength: float = 0.1) -> DefectDirection:
    given = None if prior is None else [Coefficients(*(torch.full((CHANNELS,), prior) for _ in range(2)))]
    shown = [[cells(12, 5 + n, shift=1.5)] for n in range(defects)]
    return DefectDirection([cells(400, 1)], shown, GROUPS, strength=strength, prior=given)


def maps(seed: int, shift: float) -> tuple[tuple[torch.Tensor], tuple[torch.Tensor]]:
    return tuple((values.t().reshape(1, CHANNELS, 4, 4),) for values in cells(16, seed, shift))  # type: ignore[return-value]


@pytest.mark.parametrize("defects", [0, 1, 3])
def test_a_prior_of_nothing_changes_nothing(defects: int):
    without, with_zeros = direction(defects, None).state_dict(), direction(defects, 0.0).state_dict()
    assert all(torch.equal(without[name], with_zeros[name]) for name in without)


def test_without_defects_the_prior_is_the_direction_in_units_of_the_lines_good_cells():
    found = direction(0, 0.2)
    good = cells(400, 1)
    for start, stop in GROUPS[0]:
        inside = torch.cat([good.features[:, start:stop], good.residuals[:, start:stop]], 1)
        expected = 0.2 / inside.std(0)
        expected /= (inside @ expected).std()
        got = torch.cat([found.features_0[start:stop], found.residuals_0[start:stop]])
        assert torch.allclose(got, expected, atol=1e-5)
    added = found(*maps(9, 0.0), (4, 4))
    assert 0 <= float(added.min()) <= float(added.max()) <= 9 * 0.1 + 1e-6
    assert float(found(*maps(9, 6.0), (4, 4)).min()) > float(added.max())
    assert torch.equal(direction(0, None)(*maps(9, 6.0), (4, 4)), torch.zeros(1, 4, 4))


def test_defects_move_the_direction_away_from_a_prior_that_is_wrong():
    def mean_inside(prior: float | None, defects: int) -> float:
        return float(direction(defects, prior)(*maps(9, 1.5), (4, 4)).mean())

    assert mean_inside(-0.2, 0) == 0
    assert mean_inside(-0.2, 0) < mean_inside(-0.2, 3) <= mean_inside(None, 3)


def test_the_more_defects_a_line_shows_the_less_its_prior_says():
    changes = []
    for defects in (1, 4, 16):
        with_prior, alone = direction(defects, -0.2).state_dict(), direction(defects, None).state_dict()
        changes.append(sum(float((with_prior[name] - alone[name]).square().sum()) for name in alone))
    assert changes[0] > changes[1] > changes[2] > 0


def test_a_prior_counts_as_four_defects():
    assert [round(direction_strength(m), 4) for m in (0, 1, 4)] == [0.0, 0.05, 0.1]
    assert [direction_strength(m, prior=True) for m in (0, 1, 4)] == [direction_strength(m + 4) for m in (0, 1, 4)]
