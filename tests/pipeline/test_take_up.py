"""Take-up: which unlabelled images are learned from, and which are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model_zoo.learner_table import make_learner
from pipeline.episodes import SupportSet, UnlabelledSet
from pipeline.evaluation import score_levels
from pipeline.learner import Learner
from pipeline.take_up import TakeUp, bulk_limit, take_up
from tests.parts.episodes import SPEC, ToyLine

LEARNERS = ("auto", "memory_bank")
SEEDS = (0, 1, 2)


def unlabelled(line: ToyLine, good: int, bad: int) -> UnlabelledSet:
    """Good images, then defective ones of one kind; without augmentations."""
    levels = tuple(map(torch.cat, zip(line.good(good), line.defective(bad)[0], strict=True)))
    return UnlabelledSet(levels=levels, augmented=tuple(level[:, None][:, :0] for level in levels))


def taken_up(learner: Learner, support: SupportSet, images: UnlabelledSet, *, seed: int = 0) -> TakeUp:
    return take_up(learner, support, images, learner.choose(support, seed=seed).head, seed=seed)


@pytest.mark.parametrize("bad", [0, 2, 6])
@pytest.mark.parametrize("name", LEARNERS)
def test_good_images_are_taken_up_and_defective_ones_left_out(name: str, bad: int):
    """None, one of twenty and one of five of 30 images are defective, all in one way."""
    good, taken = 30 - bad, []
    for seed in SEEDS:
        line = ToyLine(seed)
        found = taken_up(make_learner(name, SPEC, seed=0), line.support(m=0), unlabelled(line, good, bad))
        assert not found.taken[good:].any()
        assert not found.guarded
        assert (found.scores[good:] > found.limit).all()
        taken.append(found.taken[:good].mean())
        count = int(found.taken.sum())
        assert found.support.k == 4 + count
        assert found.alone.image_score.shape == (4 + count,)
    assert np.mean(taken) > 0.9


@pytest.mark.parametrize("name", LEARNERS)
def test_what_was_taken_up_stands_behind_the_labelled_images(name: str):
    line = ToyLine(1)
    support, images = line.support(), unlabelled(line, 20, 4)
    found = taken_up(make_learner(name, SPEC, seed=0), support, images)
    for joined, labelled, level in zip(found.support.good, support.good, images.levels, strict=True):
        assert torch.equal(joined, torch.cat([labelled, level[torch.from_numpy(found.taken)]]))
    assert torch.equal(found.support.defects[0], support.defects[0])


@pytest.mark.parametrize("name", LEARNERS)
def test_known_defects_guard_against_a_defect_on_half_of_the_images(name: str):
    without, guarded = 0, []
    learned = 0
    for seed in SEEDS:
        line = ToyLine(seed, shift=0.5)
        known, images = line.support(k=6, m=4), unlabelled(line, 14, 16)
        learner = make_learner(name, SPEC, seed=0)
        without += taken_up(learner, known.with_defects(()), images).taken[14:].sum()
        found = taken_up(learner, known, images)
        learned += found.taken[14:].sum()
        guarded.append(found.guarded)
        assert found.taken[:14].mean() > 0.9
    assert any(guarded)
    assert learned < 0.8 * without


@pytest.mark.parametrize("name", LEARNERS)
def test_scores_are_by_heads_that_do_not_know_the_image(name: str):
    line, learner = ToyLine(2), make_learner(name, SPEC, seed=0)
    support, images = line.support(m=0), unlabelled(line, 24, 6)
    found = taken_up(learner, support, images)
    by_first = score_levels(learner.choose(support, seed=0).head, images.levels).image_score.numpy()
    sure = by_first <= np.quantile(by_first, 0.6, method="higher")
    joined = support.joined_by(images.only(torch.from_numpy(sure)))
    deciding = learner.choose(joined, seed=0).head
    by_head = score_levels(deciding, images.levels).image_score.double().numpy()
    assert np.allclose(found.scores[~sure], by_head[~sure], atol=1e-5)
    alone = deciding.leave_one_out(joined).image_score.double()
    assert np.allclose(found.scores[sure], alone[4:].numpy(), atol=1e-5)
    assert by_head[sure].mean() < found.scores[sure].mean() - 0.05, "those it knows look too normal"
    last = found.adaptation.head.leave_one_out(found.support).image_score
    assert np.allclose(found.alone.image_score, last, atol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_an_image_is_taken_up_where_the_score_that_is_told_is_within_the_limit(name: str):
    """Also where the head that learned from all of them would place an image on the other side."""
    moved = 0
    for seed in SEEDS:
        line, learner = ToyLine(seed, shift=0.5), make_learner(name, SPEC, seed=0)
        images = unlabelled(line, 20, 10)
        found = taken_up(learner, line.support(m=4), images)
        assert (found.taken == (found.scores <= found.limit)).all()
        others = torch.from_numpy(~found.taken)
        if others.any():
            by_last = score_levels(found.adaptation.head, images.only(others).levels).image_score.double().numpy()
            moved += (np.abs(by_last - found.scores[~found.taken]) > 1e-3).sum()
    assert moved, "the last head scores them differently"


@pytest.mark.parametrize("name", LEARNERS)
def test_equal_seeds_give_equal_heads(name: str):
    line, learner = ToyLine(3), make_learner(name, SPEC, seed=0)
    support, images = line.support(), unlabelled(line, 20, 5)
    first, second = (taken_up(learner, support, images, seed=4) for _ in range(2))
    assert (first.taken == second.taken).all()
    assert (first.scores == second.scores).all()
    assert first.limit == second.limit
    states = first.adaptation.head.state_dict(), second.adaptation.head.state_dict()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("m", [0, 2])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_single_unlabelled_image_is_taken_up_where_it_looks_good(name: str, m: int):
    taken = 0
    for seed in SEEDS:
        line, learner = ToyLine(seed), make_learner(name, SPEC, seed=0)
        support = line.support(m=m)
        good = taken_up(learner, support, unlabelled(line, 1, 0))
        assert good.support.k == 4 + good.taken[0]
        taken += int(good.taken[0])
        bad = taken_up(learner, support, unlabelled(line, 0, 1))
        assert bad.taken.tolist() == [False]
        assert bad.support is support, "with the augmentations that so few images need"
        assert bad.scores[0] > bad.limit
        assert len(bad.alone.image_score) == 4
    assert taken >= 2


def test_the_limit_of_the_bulk_is_that_of_its_lower_part_however_high_defects_score():
    rng = np.random.default_rng(0)
    good = rng.normal(1.0, 0.2, 400)
    assert bulk_limit(good) == pytest.approx(1.0 + 2.5 * 0.2, abs=0.06)
    for high in (5.0, 500.0):
        spoilt = np.concatenate([good, np.full(100, high)])
        assert bulk_limit(good) < bulk_limit(spoilt) < 1.0 + 4 * 0.2
    assert bulk_limit(np.array([0.3])) == pytest.approx(0.3)
