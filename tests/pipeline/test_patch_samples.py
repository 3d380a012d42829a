"""Images that are not held in full: which they are, what they leave, and what banks and whitening make of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model_zoo.heads.bank import build_banks
from model_zoo.heads.invariant_inputs import level_groups
from model_zoo.heads.memory_bank_head import MemoryBankHead
from model_zoo.heads.whitening import Whitening
from pipeline.episodes import SupportSet
from pipeline.patch_samples import fewer_in_full, held_first, sample_patches, turned_views
from tests.parts.episodes import SPEC, ToyLine

GROUPS = level_groups(SPEC)


@pytest.fixture(scope="module")
def full() -> SupportSet:
    return ToyLine(5).support(k=60, m=2, n=8, a=0)


def test_all_images_keep_their_order_where_all_are_held_and_else_those_come_first_that_the_seed_draws():
    names = [f"{index:02}" for index in range(20)]
    assert held_first(names, 20, seed=3) == names
    ordered = held_first(names, 8, seed=3)
    assert sorted(ordered) == names
    assert ordered != names
    assert ordered[:8] == sorted(ordered[:8])
    assert ordered[8:] == sorted(ordered[8:])
    assert held_first(names, 8, seed=3) == ordered
    assert held_first(names, 8, seed=4) != ordered


def test_every_view_leaves_as_many_patches_and_each_is_the_one_that_its_source_names():
    levels = ToyLine(1).good(7)
    views = [(number, -1) for number in range(100, 107)]
    parts = [(views[:4], tuple(level[:4] for level in levels)), (views[4:], tuple(level[4:] for level in levels))]
    sample = sample_patches(parts, 7, seed=0, rows=70)
    assert [len(vectors) for vectors in sample.vectors] == [70, 70]
    assert sample.views == 7
    for level, vectors, sources in zip(levels, sample.vectors, sample.sources, strict=True):
        assert torch.bincount(sources[:, 0])[100:].tolist() == [10] * 7
        image, _, row, column = sources.unbind(1)
        assert torch.equal(vectors, level[image - 100, :, row, column])


def test_no_patch_is_sampled_outside_the_region_of_its_view():
    levels = ToyLine(1).good(4)
    looked_at = torch.zeros(3, 8, 8, dtype=torch.bool)
    looked_at[0, :, :4] = looked_at[1, :, 4:] = True
    views = [(0, -1), (0, 0), (0, 1), (1, -1)]
    sample = sample_patches([(views, levels)], 4, seed=0, rows=40, looked_at=looked_at)
    for sources, side in zip(sample.sources, (8, 4), strict=True):
        _, view, _, column = sources.unbind(1)
        assert set(view.tolist()) == {-1, 0}, "the last view shows nothing of it"
        assert torch.equal(column < side // 2, view == -1)


def test_however_many_views_there_are_each_leaves_a_patch_and_none_more_than_it_has():
    levels = ToyLine(1).good(30)
    views = [(number, -1) for number in range(30)]
    assert len(sample_patches([(views, levels)], 30, seed=0, rows=10).vectors[0]) == 30
    assert [len(v) for v in sample_patches([(views, levels)], 30, seed=0).vectors] == [30 * 64, 30 * 16]


def test_turned_views_are_all_where_they_are_few_and_else_spread_over_images_and_angles():
    assert sorted(turned_views(12, 11)) == [(image, angle) for image in range(12) for angle in range(11)]
    many = turned_views(500, 11)
    assert len(many) == len(set(many)) == 176
    assert {angle for _, angle in many} == set(range(11))
    assert len({image for image, _ in many}) == 176


def test_a_bank_takes_rows_of_all_images_in_proportion(full: SupportSet):
    support = fewer_in_full(full, 15, seed=0)
    assert (support.k, support.good_images) == (15, 60)
    for bank in build_banks(support, GROUPS, budget=200, seed=0):
        share = (bank.sources[:, 0] >= 15).float().mean()
        assert 0.65 < share < 0.85  # 45 of 60
        assert len(bank.sources) == 200
    held = torch.stack([full.good[0][image].flatten(1).t() for image in range(60)])
    bank = build_banks(support, GROUPS, budget=200, seed=0)[0]
    image, _, row, column = bank.sources.unbind(1)
    assert torch.equal(bank.vectors, held[image, row * 8 + column])


def test_whitening_counts_sampled_views_like_those_in_full(full: SupportSet):
    wide = replace(full, good=tuple(torch.cat([level[:15], 3 * level[15:]]) for level in full.good))
    support = fewer_in_full(wide, 15, seed=0)
    parts = [([(image, -1) for image in range(15, 60)], tuple(level[15:] for level in wide.good))]
    thinned = replace(support, further=sample_patches(parts, 45, seed=1, rows=450))

    def metric(support: SupportSet) -> torch.Tensor:
        matrix = Whitening(support, GROUPS).get_buffer("matrix_0")[:, :, 0, 0]
        return matrix.t() @ matrix

    of_all = metric(wide)
    assert torch.allclose(metric(support), of_all, rtol=1e-3, atol=1e-4), "all patches of these small images are known"
    assert (metric(thinned) - of_all).norm() < 0.2 * of_all.norm()
    assert (metric(replace(support, further=None)) - of_all).norm() > 0.5 * of_all.norm()


def test_without_some_images_the_others_patches_stay_and_are_numbered_anew(full: SupportSet):
    support = fewer_in_full(full, 15, seed=0)
    turned = sample_patches([([(3, 0), (4, 0)], tuple(level[3:5] for level in full.good))], 2, seed=0, rows=8)
    further = support.further
    assert further is not None
    both = replace(
        turned,
        vectors=tuple(map(torch.cat, zip(turned.vectors, further.vectors, strict=True))),
        sources=tuple(map(torch.cat, zip(turned.sources, further.sources, strict=True))),
    )
    rest = replace(support, further=both).without_good([0, 3])
    assert (rest.k, rest.good_images) == (13, 58)
    assert rest.further is not None
    numbers = rest.further.sources[0][:, 0]
    assert set(numbers.tolist()) == {2, *range(13, 58)}  # image 4 is the third of those left
    assert torch.equal(rest.further.vectors[0][numbers >= 13], further.vectors[0])


def test_the_rows_of_a_bank_are_found_again_in_the_support_without_some_images(full: SupportSet):
    support = fewer_in_full(full, 15, seed=0)
    head = MemoryBankHead.of_support(support, GROUPS, budget=100, seed=0)
    rest, chosen = support.without_good([2, 9]), head.sources_without([2, 9])
    for bank, before in zip(build_banks(rest, GROUPS, budget=100, seed=0, chosen=chosen), head.banks, strict=True):
        kept = ~torch.isin(before.get_buffer("sources")[:, 0], torch.tensor([2, 9]))
        assert torch.equal(bank.vectors, before.get_buffer("vectors")[kept])
