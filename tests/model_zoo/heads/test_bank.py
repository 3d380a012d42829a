"""What a memory bank's distances count for at the image border."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from model_zoo.heads.bank import AT_BORDER, border_weight
from model_zoo.heads.invariant_inputs import level_groups
from model_zoo.heads.memory_bank_head import MemoryBankHead
from tests.parts.episodes import SPEC, ToyLine


def head(*, at_border: float = AT_BORDER) -> MemoryBankHead:
    return MemoryBankHead.of_support(ToyLine(1).support(), level_groups(SPEC), budget=64, seed=0, at_border=at_border)


def test_half_the_weight_at_the_border_unless_told_otherwise():
    weight = border_weight(32, 32)
    assert weight[0, 0] == 0.5 + 0.5 * 0.5 * 8 / 32
    assert torch.equal(weight[4:-4, 4:-4], torch.ones(24, 24))
    assert torch.equal(border_weight(32, 20, 1.0), torch.ones(32, 20))
    assert torch.equal(border_weight(5, 7, 0.5), border_weight(5, 7))


def test_a_bank_fades_its_distances_as_it_is_told():
    levels = ToyLine(2).good(2)
    faded, alike = head().match(levels), head(at_border=1.0).match(levels)
    for low, high in zip(faded, alike, strict=True):
        h, w = low.distances.shape[-2:]
        assert torch.equal(low.rows, high.rows)
        assert torch.equal(low.distances, high.distances * border_weight(h, w))
        assert torch.equal(low.residuals, high.residuals * border_weight(h, w))


def test_tokens_count_in_the_spread_of_the_maps_and_as_much_at_the_border():
    support, groups = ToyLine(1).support(), level_groups(SPEC)
    bank, matches = MemoryBankHead.with_matches(support, groups, budget=64, seed=0, tokens=(1,))
    assert [level.at_border for level in bank.banks] == [AT_BORDER, 1.0]
    kinds = [
        MemoryBankHead.with_matches(support, groups, budget=64, seed=0, tokens=tokens)[0] for tokens in ((), (0, 1))
    ]
    assert all(alone.kinds == () for alone in kinds)  # of one kind they are a plain mean
    first = len(groups[0])
    scaled = (
        torch.cat(
            [
                F.interpolate(match.distances, bank.grid, mode="bilinear", align_corners=False)
                if tuple(match.distances.shape[-2:]) != bank.grid
                else match.distances
                for match in matches
            ],
            1,
        )
        / bank.scale
    )
    maps, tokens = scaled[:, :first].mean(1).log(), scaled[:, first:].mean(1).log()
    torch.testing.assert_close(bank.anomaly_map(matches), (maps + tokens * maps.std() / tokens.std()) / 2)


def test_a_bank_knows_no_defect_so_that_each_scores_as_it_does_at_the_plant():
    support = ToyLine(1).support(m=3)
    bank = head()
    scores = bank.leave_one_defect_out(support)
    assert torch.equal(scores, bank(*support.defects).image_score)
    assert bank.leave_one_defect_out(support.with_defects(())).shape == (0,)
