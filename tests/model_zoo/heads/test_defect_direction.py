"""The direction of a line's own defects."""

from __future__ import annotations

import pytest
import torch

from model_zoo.heads.defect_direction import Cells, DefectDirection, direction_strength

CHANNELS = 6
GROUPS = (((0, 4), (4, 6)),)


def cells(count: int, seed: int, shift: float = 0.0) -> Cells:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(2, count, CHANNELS, generator=generator) * torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0])
    return Cells(*(drawn + shift))


def direction(defects: int, strength: float = 0.1) -> DefectDirection:
    shown = [[cells(12, 5 + n, shift=1.5)] for n in range(defects)]
    return DefectDirection([cells(400, 1)], shown, GROUPS, strength=strength)


def maps(seed: int, shift: float) -> tuple[tuple[torch.Tensor], tuple[torch.Tensor]]:
    return tuple((values.t().reshape(1, CHANNELS, 4, 4),) for values in cells(16, seed, shift))  # type: ignore[return-value]


def test_without_defects_nothing_is_added():
    assert torch.equal(direction(0)(*maps(9, 6.0), (4, 4)), torch.zeros(1, 4, 4))


@pytest.mark.parametrize("defects", [1, 3])
def test_cells_like_the_defects_stand_out_and_by_no_more_than_nine_standard_deviations(defects: int):
    found = direction(defects)
    good, defective, far = (found(*maps(9, shift), (4, 4)) for shift in (0.0, 1.5, 60.0))
    assert 0 <= float(good.min()) <= float(good.mean()) < 0.1 < float(defective.mean())
    assert torch.allclose(far, torch.tensor(9 * 0.1))
    assert torch.equal(found(*maps(9, -60.0), (4, 4)), torch.zeros(1, 4, 4))


def test_the_weight_grows_with_the_number_of_defects():
    assert [round(direction_strength(m), 4) for m in (0, 1, 4)] == [0.0, 0.05, 0.1]
