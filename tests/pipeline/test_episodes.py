"""Supports that others join: whose is which image, and which patch, afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model_zoo.heads.bank import build_banks
from model_zoo.heads.invariant_inputs import level_groups
from pipeline.episodes import PatchSample, SupportSet, UnlabelledSet
from pipeline.patch_samples import fewer_in_full, sample_patches
from tests.parts.episodes import SPEC, ToyLine


def unlabelled(line: ToyLine, count: int, augmentations: int) -> UnlabelledSet:
    return UnlabelledSet(levels=line.good(count), augmented=line.good(count, augmentations))


@pytest.fixture(scope="module")
def full() -> SupportSet:
    return ToyLine(5).support(k=30, m=2, n=8, a=0)


@pytest.fixture(scope="module")
def held(full: SupportSet) -> SupportSet:
    """The same with 10 images in full, 20 as patches, and patches of turned views of the images 3 and 4."""
    support = fewer_in_full(full, 10, seed=0)
    turned = sample_patches([([(3, 0), (4, 0)], tuple(level[3:5] for level in full.good))], 2, seed=0, rows=8)
    assert support.further is not None
    both = PatchSample(
        vectors=tuple(map(torch.cat, zip(turned.vectors, support.further.vectors, strict=True))),
        sources=tuple(map(torch.cat, zip(turned.sources, support.further.sources, strict=True))),
    )
    return replace(support, further=both)


def test_further_images_move_up_and_those_in_full_keep_their_number(held: SupportSet):
    further = held.further
    assert further is not None
    moved = further.behind(10, 7)
    for before, after in zip(further.sources, moved.sources, strict=True):
        assert torch.equal(after[:, 1:], before[:, 1:])
        in_full = before[:, 0] < 10
        assert in_full.any()
        assert torch.equal(after[in_full, 0], before[in_full, 0])
        assert torch.equal(after[~in_full, 0], before[~in_full, 0] + 7)
    assert all(map(torch.equal, moved.vectors, further.vectors))
    assert moved.views == further.views


def test_those_that_join_come_behind_the_images_in_full_and_rows_of_banks_name_the_right_image(
    full: SupportSet, held: SupportSet
):
    more = unlabelled(ToyLine(9), 7, 0)
    joined = held.joined_by(more)
    assert (joined.k, joined.good_images, joined.m) == (17, 37, 2)
    everyone = [torch.cat([f[:10], new, f[10:]]) for f, new in zip(full.good, more.levels, strict=True)]
    for bank, levels in zip(build_banks(joined, level_groups(SPEC), budget=300, seed=0), everyone, strict=True):
        image, _, row, column = bank.sources.unbind(1)
        assert torch.equal(bank.vectors, levels[image, :, row, column])
        assert {0, 1, 2} <= {(0 if n < 10 else 1 if n < 17 else 2) for n in image.tolist()}
    assert torch.equal(joined.synthetic_parents, held.synthetic_parents), "still on the images they were painted on"
    rest = joined.without_good(range(10, 17))
    assert rest.further is not None
    assert held.further is not None
    assert all(map(torch.equal, rest.good, held.good))
    assert all(map(torch.equal, rest.further.sources, held.further.sources))


@pytest.mark.parametrize(("own", "others", "left"), [(3, 3, 3), (3, 0, 0), (0, 0, 0)])
def test_augmentations_stay_where_all_images_have_the_same(own: int, others: int, left: int):
    line = ToyLine(1)
    support, more = line.support(a=own), unlabelled(line, 5, others)
    joined = support.joined_by(more)
    for level, before, new in zip(joined.augmented, support.augmented, more.augmented, strict=True):
        assert level.shape == (9, left, *before.shape[2:])
        if left:
            assert torch.equal(level, torch.cat([before, new]))


def test_some_of_the_unlabelled_images_keep_their_order_and_their_views():
    more = unlabelled(ToyLine(1), 4, 2)
    some = more.only(torch.tensor([True, False, False, True]))
    for level, turned, all_levels, all_turned in zip(
        some.levels, some.augmented, more.levels, more.augmented, strict=True
    ):
        assert torch.equal(level, all_levels[[0, 3]])
        assert torch.equal(turned, all_turned[[0, 3]])
