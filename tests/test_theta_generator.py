"""What the generative learners share on a new line: the guard around what they generate."""

from __future__ import annotations

import pytest
import torch

from model_zoo.learner_table import LEARNERS, make_learner
from model_zoo.tasks import prepare_support
from model_zoo.theta_generator import ThetaGenerator
from tests.episodes_support import SPEC, ToyLine

GENERATORS = [name for name in LEARNERS if isinstance(make_learner(name, SPEC), ThetaGenerator)]


def test_the_generative_learners_are_among_them():
    assert set(GENERATORS) >= {"meta_sgd_hn", "maml_gan", "vae", "leo", "autoregressive"}


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_generator_gone_wild_does_no_harm_on_the_support(name: str, seed: int):
    learner = make_learner(name, SPEC, seed=seed)
    assert isinstance(learner, ThetaGenerator)
    with torch.no_grad():
        for parameter in learner.own_parameters():
            parameter.mul_(40.0)
    support = prepare_support(ToyLine(seed).support(), learner.groups, learner.config.inputs, seed=0).task
    loss = learner.support_loss(support, "theta")
    parameters, _ = learner.adapted(support, training=False)
    assert float(loss(parameters).detach()) <= float(loss({"theta": learner.theta0}).detach())
