"""The shared direction: what other lines teach, in every head that a line gets."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from flows import views
from flows.adapt import job as adapt
from flows.adapt import learner_choice
from flows.adapt.request import AdaptRequest
from flows.asking.learner_names import LearnerName
from flows.open_backbone import open_backbone
from flows.source_lines import task_calibration
from model_zoo.learner_table import make_learner
from model_zoo.learners.auto import AutoLearner
from model_zoo.learners.shared_direction import SharedDirectionLearner
from model_zoo.learning.auto_head import AutoConfig
from model_zoo.learning.direction_tasks import DirectionTask
from pipeline.episodes import QuerySet, SupportSet
from pipeline.features import DEFAULT_BACKBONE, BackboneSpec
from pipeline.learner import Learner
from pipeline.meta_model import MetaModel, load_meta_model, save_meta_model
from pipeline.meta_training import MetaTrainingConfig, SourceTask, meta_train
from pipeline.metrics import image_auroc
from pipeline.settings import load_settings
from pipeline.synthetic.lines import write_line
from tests.parts.episodes import SPEC, ToyLine

AUTO = AutoLearner(SPEC, AutoConfig())


class AlikeLine(ToyLine):
    """A line whose defects go where those of all its kind go."""

    def __init__(self, seed: int, shift: float = 2.0) -> None:
        super().__init__(seed, shift)
        self.direction = ToyLine(0).direction


def untrained(steps: int = 400) -> SharedDirectionLearner:
    learner = make_learner("shared_direction", SPEC, outer_steps=steps)
    assert isinstance(learner, SharedDirectionLearner)
    return learner


def train(tasks: Sequence[DirectionTask], steps: int = 400) -> SharedDirectionLearner:
    learner = untrained(steps)
    meta_train(
        learner, [SourceTask("toy", f"line{i}", task) for i, task in enumerate(tasks)], MetaTrainingConfig(steps=steps)
    )
    return learner


@pytest.fixture(scope="module")
def tasks() -> list[DirectionTask]:
    return [untrained().prepare(AlikeLine(seed, shift=0.5).episode(m=seed % 3)) for seed in range(1, 9)]


@pytest.fixture(scope="module")
def trained(tasks: list[DirectionTask]) -> SharedDirectionLearner:
    return train(tasks)


def auroc(learner: Learner, support: SupportSet, query: QuerySet) -> float:
    scores = learner.adapt(support, seed=0)(*query.levels).image_score
    return image_auroc(scores.numpy(), query.labels.numpy())


def test_what_lines_have_in_common_finds_the_defects_of_a_line_that_showed_none(trained: SharedDirectionLearner):
    gains = []
    for seed in (21, 22, 23):
        line = AlikeLine(seed, shift=0.3)
        support, query = line.support(m=0), line.query(good=40, bad=40)
        gains.append(auroc(trained, support, query) - auroc(AUTO, support, query))
    assert min(gains) > 0
    assert np.mean(gains) > 0.04


@pytest.mark.parametrize("steps", [400, 600])
def test_the_default_steps_reach_the_optimum_of_all_tasks_together(tasks: list[DirectionTask], steps: int):
    def objective(learner: SharedDirectionLearner) -> torch.Tensor:
        squares = sum(values.square().sum() for values in learner.coefficients)
        return torch.stack([learner.query_loss(task) for task in tasks]).mean() + learner.config.ridge * squares

    best = untrained()
    optimiser = torch.optim.LBFGS(best.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = objective(best)
        value.backward()
        return value

    optimiser.step(closure)
    lowest, start, reached = (
        float(objective(learner).detach()) for learner in (best, untrained(), train(tasks, steps))
    )
    assert 0 <= reached - lowest < 0.02 * (start - lowest)


@pytest.mark.parametrize("m", [0, 1, 4])
def test_where_nothing_was_learned_the_maps_are_those_of_auto(m: int):
    line = ToyLine(5)
    support, query = line.support(m=m), line.query().levels
    mine, other = (learner.adapt(support, seed=0)(*query) for learner in (untrained(), AUTO))
    assert all(torch.equal(a, b) for a, b in zip(mine, other, strict=True))


@pytest.mark.parametrize(("m", "strength"), [(0, 0.15), (4, 0.05)])
def test_what_was_learned_changes_the_map_by_no_more_than_its_weight_allows(
    trained: SharedDirectionLearner, m: int, strength: float
):
    line = AlikeLine(30)
    support, query = line.support(m=m), line.query().levels
    added = trained.adapt(support, seed=0)(*query).anomaly_map - AUTO.adapt(support, seed=0)(*query).anomaly_map
    assert float(added.min()) >= -1e-6
    assert strength < float(added.max()) <= 9 * strength + 1e-5


@pytest.mark.parametrize(("k", "m"), [(4, 0), (4, 2), (7, 1), (1, 0), (1, 2)])
def test_good_scores_of_a_prepared_episode_are_those_of_its_heads(trained: SharedDirectionLearner, k: int, m: int):
    episode = AlikeLine(31).episode(k=k, m=m)
    of_support, of_query = trained.good_scores(trained.prepare(episode), seed=0)
    head = trained.adapt(episode.support, seed=0)
    alone = head.leave_one_out(episode.support).image_score
    unseen = head(*(level[~episode.query.labels] for level in episode.query.levels)).image_score
    torch.testing.assert_close(of_support, alone, rtol=0, atol=0.01)  # they are kept in float16
    torch.testing.assert_close(of_query, unseen, rtol=0, atol=0.01)


def test_the_only_defect_is_scored_with_what_was_learned(trained: SharedDirectionLearner):
    support = AlikeLine(32, shift=0.5).support(k=6, m=1)
    alone = trained.adapt(support, seed=0).leave_one_defect_out(support)
    assert alone is not None
    without = trained.adapt(support.with_defects(()), seed=0)(*support.defects).image_score
    assert torch.allclose(alone, without, atol=1e-4)
    by_distance = AUTO.adapt(support.with_defects(()), seed=0)(*support.defects).image_score
    assert float(alone) > float(by_distance) + 0.05


def test_a_head_stays_as_it_is_while_the_learner_goes_on(tasks: list[DirectionTask]):
    learner, support = untrained(), AlikeLine(34).support()
    learner.outer_step(tasks[:1])
    head = learner.adapt(support, seed=0)
    before = head.leave_one_out(support).image_score
    for task in tasks:
        learner.outer_step([task])
    assert torch.equal(head.leave_one_out(support).image_score, before)


def test_thresholds_are_pooled_without_a_fallback(trained: SharedDirectionLearner, tasks: list[DirectionTask]):
    found = task_calibration(trained, [SourceTask("toy", f"line{i}", task) for i, task in enumerate(tasks)])
    assert found.fallback is None


def test_validation_falls_while_it_learns_and_the_state_goes_on(tasks: list[DirectionTask]):
    learner, steps = untrained(40), 40
    before = learner.validation_loss(tasks[6:])
    for step in range(steps):
        if step == 20:
            resumed = untrained(40)
            resumed.load_state_dict(copy.deepcopy(learner.state_dict()))
            resumed.load_outer_state(copy.deepcopy(learner.outer_state()))
            learner = resumed
        learner.outer_step([tasks[step % 6]])
    assert learner.validation_loss(tasks[6:]) < 0.9 * before
    whole = untrained(40)
    for step in range(steps):
        whole.outer_step([tasks[step % 6]])
    assert all(torch.equal(value, learner.state_dict()[name]) for name, value in whole.state_dict().items())
    other = untrained(40)
    other.warm_start(whole)
    assert torch.equal(other.learned()[0].features, whole.learned()[0].features)


def as_meta_model(learner: SharedDirectionLearner, spec: BackboneSpec) -> MetaModel:
    return MetaModel(
        identifier="shared_direction-0",
        learner=learner.name,
        seed=0,
        good=4,
        outer_steps=400,
        pooled_steps=400,
        spec=spec,
        lines=("toy",),
        calibration=None,
        final_loss=None,
        weights=dict(learner.state_dict()),
    )


def test_a_meta_model_on_disk_gives_the_same_heads(trained: SharedDirectionLearner, tmp_path: Path):
    save_meta_model(as_meta_model(trained, SPEC), tmp_path / "model")
    again = untrained()
    again.load_state_dict(load_meta_model(tmp_path / "model").weights)
    line = AlikeLine(33)
    support, query = line.support(m=1), line.query().levels
    mine, other = (learner.adapt(support, seed=0)(*query) for learner in (trained, again))
    assert torch.equal(mine.anomaly_map, other.anomaly_map)


@pytest.mark.parametrize(("asked", "tried"), [(None, {"64 px", "128 px"}), (64, set())])
def test_a_line_chooses_its_size_and_what_was_learned_at_the_default_serves_it(
    asked: int | None, tried: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for module in (views, adapt, learner_choice):
        monkeypatch.setattr(module, "DEFAULT_SIZE", 64)
    monkeypatch.setattr(views, "LARGER_SIZES", (128,))
    settings = load_settings(tmp_path / "home")
    spec = open_backbone(DEFAULT_BACKBONE, 64, settings).spec
    learner = make_learner("shared_direction", spec)
    assert isinstance(learner, SharedDirectionLearner)
    save_meta_model(as_meta_model(learner, spec), tmp_path / "model")
    images = write_line(tmp_path, 2, good=2, test_good=0, defects=2, size=160)
    request = AdaptRequest(
        line="chosen", images=images, learner=LearnerName(learner.name), meta_model=tmp_path / "model", size=asked
    )
    manifest = adapt.run(request, settings).bundle.manifest
    assert {name for choice in manifest.choices for name in choice.evidence} == tried
