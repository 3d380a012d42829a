"""Early stopping: an outer loop ends when the loss on held-out lines no longer falls, and keeps its best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.distributed import mean_over_processes
from pipeline.learner import MetaLearner


class EarlyStopping:
    """Checks a validation loss between outer steps. All processes of a run come to the same decision.

    Args:
        loss: the validation loss of the learner as it is, lower is better; nan counts as no improvement.
        patience: checks in a row without improvement after which the loop stops, at least 1.
        every: outer steps between checks.
        after: outer step that the checks come after: those in which a learner's own parameters do not learn yet.

    Attributes:
        stopped: whether patience has run out.
    """

    def __init__(self, loss: Callable[[], float], *, patience: int, every: int, after: int = 0) -> None:
        assert patience >= 1
        assert every >= 1
        self._loss = loss
        self._patience = patience
        self._every = every
        self._after = after
        self._best = math.inf
        self._in_vain = 0
        self._weights: dict[str, Any] | None = None

    @property
    def stopped(self) -> bool:
        """See the class."""
        return self._in_vain >= self._patience

    def check(self, step: int, learner: MetaLearner) -> dict[str, float]:
        """The validation loss as a figure of this outer step, counted from 1; nothing where no check is due."""
        if step <= self._after or step % self._every:
            return {}
        loss = mean_over_processes(self._loss())
        if loss < self._best:
            self._best, self._in_vain = loss, 0
            self._weights = {name: value.detach().cpu().clone() for name, value in learner.state_dict().items()}
        else:
            self._in_vain += 1
        return {VALIDATION_LOSS: loss}

    def keep_best(self, learner: MetaLearner) -> None:
        """Give the learner the weights of the lowest validation loss; without a check they stay."""
        if self._weights is not None:
            learner.load_state_dict(self._weights)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: tensors and plain values."""
        return {"best": self._best, "in_vain": self._in_vain, "weights": self._weights}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self._best, self._in_vain, self._weights = state["best"], state["in_vain"], state["weights"]


VALIDATION_LOSS = "validation_loss"
"""Name of the figure that checks add to an outer step's report."""
