"""The guard of learned heads: a head that its line's support speaks against gives way to the memory bank's."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from model_zoo.heads.learned_head import LearnedHead
from model_zoo.heads.memory_bank_head import MemoryBankHead
from model_zoo.learner_table import LEARNERS, make_learner
from model_zoo.learning.guard import BANK, bank_scores, head_choice
from model_zoo.learning.separation import overlaps, ranks
from model_zoo.learning.task_learner import TaskLearner
from model_zoo.learning.tasks import prepare_support, subset
from pipeline.calibration import PooledCalibration
from tests.parts.episodes import SPEC, ToyLine

STEPS = 20


@pytest.fixture(scope="module")
def trained() -> TaskLearner:
    learner = make_learner("in_context", SPEC, outer_steps=STEPS)
    assert isinstance(learner, TaskLearner)
    tasks = [learner.prepare(ToyLine(seed).episode(m=seed % 3)) for seed in range(6)]
    for step in range(STEPS):
        learner.outer_step([tasks[step % 6]])
    return learner


def spoilt(learner: TaskLearner) -> TaskLearner:
    """A copy that takes what is far from normal for good: theta's base weight turned round."""
    worse = copy.deepcopy(learner)
    with torch.no_grad():
        worse.theta0[-1] = -2.0
        worse.theta0[:-2] = 0.0
    return worse


@pytest.mark.parametrize(("k", "m"), [(4, 4), (4, 1), (4, 0), (2, 2), (1, 1)])
def test_a_good_head_stays_and_a_spoilt_one_gives_way_to_the_banks(trained: TaskLearner, k: int, m: int):
    line = ToyLine(20 + m)
    support, query = line.support(k=k, m=m), line.query().levels
    kept = trained.choose(support, seed=0)
    assert isinstance(kept.head, LearnedHead)
    assert [choice.chosen for choice in kept.choices] == ["in_context"]

    worse = spoilt(trained)
    fell_back = worse.choose(support, seed=0)
    (choice,) = fell_back.choices
    assert choice.chosen == BANK
    assert choice.evidence["in_context"] < choice.evidence[BANK]
    bank = make_learner(BANK, SPEC).adapt(support, seed=0)
    for got, expected in zip(fell_back.head(*query), bank(*query), strict=True):
        assert torch.equal(got, expected)
    unguarded = worse.unguarded().choose(support, seed=0)
    assert isinstance(unguarded.head, LearnedHead)
    assert unguarded.choices == ()
    assert worse.config.guard


@pytest.mark.parametrize(
    "name", [name for name, entry in LEARNERS.items() if entry.is_meta and name != "shared_direction"]
)
def test_every_meta_learned_head_but_one_that_adds_little_to_the_bank_is_guarded(name: str):
    """A head that is blind by whatever way it is made: its scorer is replaced by one that sees the wrong way round."""
    learner = make_learner(name, SPEC)
    assert isinstance(learner, TaskLearner)

    class Blind(torch.nn.Module):
        def forward(self, inputs):
            return -inputs.log_base

    learner.scorer = lambda support: Blind()
    assert isinstance(learner.adapt(ToyLine(3).support(m=2), seed=0), MemoryBankHead)


def test_heads_are_judged_by_images_they_were_not_fitted_to():
    support = prepare_support(ToyLine(4).support(k=4, m=3, n=4), *_settings(), seed=0)
    fitted: list[set[int]] = []
    rows = {float(score): row for row, score in enumerate(support.task.inputs.log_base.sum((1, 2)))}

    def fit(task):
        fitted.append({rows[float(score)] for score in task.inputs.log_base.sum((1, 2))})
        return lambda inputs: inputs.log_base

    head_choice("any", support, fit)
    every = set(range(4 + 4 + 3))
    assert len(rows) == len(every)
    assert fitted[0].isdisjoint(fitted[1])
    assert fitted[0] | fitted[1] == every
    parents = ToyLine(4).support(k=4, m=3, n=4).synthetic_parents.tolist()
    assert all((4 + i in half) == (parent in half) for half in fitted for i, parent in enumerate(parents))


def test_evidence_is_auroc_plus_overlap_within_each_half_and_a_tie_keeps_the_learner():
    support = prepare_support(ToyLine(5, shift=0.5).support(k=4, m=4, n=4), *_settings(), seed=0)
    choice = head_choice("equal", support, lambda task: lambda inputs: 3 * inputs.log_base - 1)
    assert choice is not None
    expected = []
    for half in (0, 1):
        bad = subset(support.task, (support.real & (support.halves == half)).nonzero()[:, 0])
        good = subset(support.task, (~support.task.targets.labels & (support.halves == half)).nonzero()[:, 0])
        maps = [3 * part.inputs.log_base - 1 for part in (bad, good)]
        scores = [0.5 * m.flatten(1).amax(1) + 0.5 * m.flatten(1).amax(1) for m in maps]  # 1 % of 64 cells is one
        expected.append(ranks(*scores).mean() + overlaps(maps[0], bad.targets.fractions, maps[1]).mean())
    assert choice.evidence["equal"] == pytest.approx(float(sum(expected)) / 2, abs=1e-5)
    assert choice.evidence[BANK] == pytest.approx(choice.evidence["equal"] - 0.02, abs=1e-5)
    assert choice.chosen == "equal"


def test_a_head_that_scores_nan_gives_way_and_a_support_without_defects_says_nothing():
    support = ToyLine(6).support(k=4, m=2)
    choice = head_choice("nan", prepare_support(support, *_settings(), seed=0), lambda task: _nan)
    assert choice is not None
    assert choice.chosen == BANK
    assert all(math.isfinite(value) for value in choice.evidence.values())
    bare = prepare_support(ToyLine(6).support(k=4, m=0, n=0), *_settings(), seed=0)
    assert head_choice("any", bare, lambda task: _nan) is None


def test_a_head_that_fell_back_is_calibrated_as_the_bank(trained: TaskLearner):
    of_bank = PooledCalibration(deviations={"line": (0.0, 1.0)}, spread=0.1)
    pooled = PooledCalibration(deviations={"line": (2.0, 3.0)}, spread=0.4, fallback=of_bank)
    support = ToyLine(7).support()
    assert trained.adapt(support, seed=0).calibration_of(pooled) is pooled
    assert spoilt(trained).adapt(support, seed=0).calibration_of(pooled) is of_bank
    assert make_learner(BANK, SPEC).adapt(support, seed=0).calibration_of(of_bank) is of_bank
    assert PooledCalibration.from_json(pooled.to_json()) == pooled


def test_the_banks_scores_of_a_prepared_task_are_the_banks(trained: TaskLearner):
    episode = ToyLine(8).episode()
    support, query = bank_scores(trained.prepare(episode))
    bank = make_learner(BANK, SPEC).adapt(episode.support, seed=0)
    assert torch.allclose(support, bank.leave_one_out(episode.support).image_score, atol=0.01)  # kept in float16
    good = ~episode.query.labels
    assert torch.allclose(query, bank(*episode.query.levels).image_score[good], atol=0.01)


def _settings():
    learner = make_learner("in_context", SPEC)
    assert isinstance(learner, TaskLearner)
    return learner.groups, learner.config.inputs


def _nan(inputs):
    return torch.full_like(inputs.log_base, torch.nan)
