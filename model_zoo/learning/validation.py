"""The validation loss of a meta-learner: what it reaches on lines that it is not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from model_zoo.heads.task_head import anomaly_loss
from model_zoo.learning.task_learner import TaskLearner
from model_zoo.learning.tasks import PreparedTask


@torch.no_grad()
def validation_loss(learner: TaskLearner, tasks: Sequence[PreparedTask]) -> float:
    """The mean anomaly loss on the query sets, each after an adaptation to its support as on a new line, unguarded."""
    losses = []
    for seed, task in enumerate(tasks):
        support, query = task.unpack()
        losses.append(anomaly_loss(learner.seeded_scorer(support, seed=seed)(query.inputs), query.targets))
    return float(torch.stack(losses).mean())
