"""Every learner's outer loop on a device that is not the CPU: no tensor left behind, none that stays there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from model_zoo.heads.task_head import THETA_SIZE
from model_zoo.learning.inner_loop import Parameters
from model_zoo.learning.task_learner import TaskLearner, TaskLearnerConfig
from model_zoo.learning.tasks import CPU, TaskInputs
from pipeline.learner import MetaLearner
from pipeline.meta_training import SourceTask
from tests.model_zoo.pretend_device import PRETEND, PretendDevice
from tests.parts.episodes import SPEC
from tests.parts.outer_loop import META, STEPS, assert_equal_reports, fresh, toy_tasks, train

# torch takes "meta" at its word in one place, and then copies all the same
pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter:UserWarning")


@pytest.fixture(scope="module")
def tasks() -> list[SourceTask]:
    return toy_tasks("maml_gan")


@pytest.mark.parametrize("name", META)
def test_every_learner_trains_elsewhere_as_on_the_cpu(name: str):
    tasks = toy_tasks(name)
    at_home, elsewhere = fresh(name), fresh(name)
    expected = train(at_home, tasks, CPU)
    with PretendDevice():
        reports = train(elsewhere, tasks, PRETEND)
        assert all(type(value) is Tensor for value in tensors_of(elsewhere)), "not everything is back on the CPU"
    assert_equal_reports(reports, expected)
    for mine, other in zip(tensors_of(elsewhere), tensors_of(at_home), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    prepared = tasks[1].prepared
    mine, other = (learner.good_scores(prepared, seed=2) for learner in (elsewhere, at_home))
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def tensors_of(learner: MetaLearner) -> list[Tensor]:
    """Weights, buffers and all that resuming needs."""
    assert isinstance(learner, nn.Module)
    held = [*learner.state_dict().values(), *learner.buffers(), *tree_leaves(learner.outer_state())]
    return [value for value in held if isinstance(value, Tensor)]


class _Forgetful(TaskLearner):
    """A learner with one mistake."""

    name = "forgetful"

    def __init__(self, mistake: Callable[[TaskLearner], Tensor]) -> None:
        super().__init__(SPEC, TaskLearnerConfig(outer_steps=STEPS, pooled_steps=1), seed=0)
        self.mistake = mistake
        self.left_behind = torch.ones(THETA_SIZE)

    def adapted(self, support: TaskInputs, *, training: bool) -> tuple[Parameters, Tensor | float]:
        return {"theta": self.theta0 + self.mistake(self)}, 0.0


def _only_behind_a_branch(learner: TaskLearner) -> Tensor:
    return torch.zeros(THETA_SIZE) if float(learner.theta0.detach().abs().sum()) > 0 else learner.theta0


MISTAKES: dict[str, Callable[[Any], Tensor]] = {
    "factory": lambda _: torch.zeros(THETA_SIZE),
    "global random numbers": lambda _: torch.randn(THETA_SIZE),
    "CPU generator": lambda learner: torch.randn(THETA_SIZE, generator=learner._generator, device=learner.device),
    "attribute": lambda learner: learner.left_behind,
    "mask": lambda learner: learner.theta0 * (torch.arange(THETA_SIZE) > 3),
    "inside a list": lambda learner: torch.stack([learner.theta0, torch.ones(THETA_SIZE)]).sum(0),
    "behind a branch": _only_behind_a_branch,
    "to numpy": lambda learner: torch.from_numpy(learner.theta0.detach().numpy()),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_forgotten_device_is_found(mistake: str, tasks: list[SourceTask]):
    train(_Forgetful(MISTAKES[mistake]), tasks, CPU)  # on the CPU nobody would notice
    with PretendDevice(), pytest.raises(RuntimeError, match=r"two devices|a generator of the CPU|numpy"):
        train(_Forgetful(MISTAKES[mistake]), tasks, PRETEND)


def test_the_pretended_device_accepts_what_a_gpu_would(tasks: list[SourceTask]):
    with PretendDevice():
        train(_Forgetful(lambda learner: torch.ones(THETA_SIZE).to(learner.device) * 0.5), tasks, PRETEND)


@pytest.mark.parametrize("name", ["maml_gan", "abml"])
def test_a_checkpoint_written_elsewhere_goes_on_here_and_the_other_way_round(name, tasks, tmp_path, monkeypatch):
    whole = fresh(name)
    expected = train(whole, tasks, CPU)
    # A file that says of each tensor that it was on a GPU, as torch writes one there; the bytes are the same.
    with monkeypatch.context() as gpu:
        gpu.setattr("torch.serialization.location_tag", lambda _: "cuda:0")
        train(fresh(name), tasks, CPU, 2, run=tmp_path)
    with pytest.raises(RuntimeError, match="map_location") if not torch.cuda.is_available() else monkeypatch.context():
        torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    here, there = fresh(name), fresh(name)
    with PretendDevice():
        assert_equal_reports(train(there, tasks, PRETEND, run=tmp_path, resume=True), expected)
    train(fresh(name), tasks, CPU, 2, run=tmp_path)
    assert train(here, tasks, CPU, run=tmp_path, resume=True) == expected
    assert all(torch.equal(value, here.state_dict()[key]) for key, value in whole.state_dict().items())
