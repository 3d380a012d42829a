"""Meta-training of an evaluation's folds: every requested learner on a fold's source lines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from flows.evaluate.request import EvaluateRequest
from flows.progress import OnProgress, Progress
from flows.source_lines import Sources, task_calibration
from model_zoo.learner_table import learner_entry, make_learner
from model_zoo.learning.guard import BANK
from model_zoo.learning.task_learner import TaskLearner
from pipeline.calibration import PooledCalibration, SourceScores, pool
from pipeline.errors import LineError
from pipeline.evaluation import Fold
from pipeline.features import BackboneSpec
from pipeline.learner import Learner
from pipeline.meta_training import MetaTrainingConfig, SourceTask, meta_train
from pipeline.product_lines.lines import ProductLine

POOLED = "in_context"
"""The learner whose trunk and theta0 the other meta-learners of a fold start from: it is what pooled training gives."""


GENERATED = "generated"
"""The data set of generated source lines. They teach, but thresholds are pooled from real lines where there are any:
real cameras and parts stray in their own ways."""


@dataclass(frozen=True)
class Trained:
    """A learner of a fold, with what its source lines say about thresholds.

    `seconds` is what its outer loop took, from prepared episodes on, pooled training included; 0 where nothing is
    learned from other lines.
    """

    learner: Learner
    calibration: PooledCalibration | None
    seconds: float


class FoldTrainer:
    """Trains folds one after another. A source line's episodes are prepared once and serve every fold.

    Args:
        request: learners, outer steps, seed.
        spec: of the backbone.
        sources: draws the episodes.
        on_progress: hears of every stage.
    """

    def __init__(self, request: EvaluateRequest, spec: BackboneSpec, sources: Sources, on_progress: OnProgress) -> None:
        self._request = request
        self._spec = spec
        self._sources = sources
        self._on_progress = on_progress
        self._tasks: dict[str, list[SourceTask]] = {}
        self._scores: dict[tuple[str, str], list[SourceScores]] = {}

    def train(self, fold: Fold, learners: Iterable[str], *, calibrate: bool = True) -> dict[str, Trained]:
        """Every learner by name, meta-trained on the fold's source lines where it is a meta-learner;
        with `calibrate` also what the source lines say about thresholds.

        Raises:
            LineError: a meta-learner is asked for, and no source line has defects.
        """
        usable = [line for line in fold.train if line.defects]
        judges = [line for line in usable if line.data_set != GENERATED] or usable
        pooled: TaskLearner | None = None
        pooled_seconds = 0.0
        trained = {}
        for name in sorted(learners, key=lambda name: name != POOLED):
            learner, seconds = self._fresh(name), 0.0
            if learner_entry(name).is_meta and isinstance(learner, TaskLearner):
                if pooled is None:
                    pooled, pooled_seconds = self._pooled(usable, learner if name == POOLED else None)
                seconds = pooled_seconds
                if name != POOLED:
                    learner.warm_start(pooled)
                    steps = learner.config.outer_steps - self._request.iterations
                    seconds += self._outer_loop(learner, usable, steps)
            calibration = None
            if judges and calibrate:
                self._on_progress(Progress(stage=f"calibrate {name}", done=0))
                calibration = self._calibration(name, learner, judges)
            trained[name] = Trained(learner, calibration, seconds)
        return trained

    def go_on(
        self, name: str, learner: TaskLearner, lines: Sequence[ProductLine], *, steps: int, stage: int
    ) -> TaskLearner:
        """A further outer loop from a learner's weights, with a rate that starts and falls anew; the learner stays.

        Args:
            name: of the learner in the table.
            learner: trained before.
            lines: to train on.
            steps: of the outer loop.
            stage: number of this loop, part of its seed.
        """
        seed = self._request.seed + stage
        further = make_learner(name, self._spec, outer_steps=steps, pooled_steps=0, seed=seed)
        assert isinstance(further, TaskLearner)
        further.load_state_dict(learner.state_dict())
        self._outer_loop(further, lines, steps, seed)
        return further

    def _calibration(self, name: str, learner: Learner, lines: Sequence[ProductLine]) -> PooledCalibration:
        """From the prepared episodes for a meta-learner; the others do not change from fold to fold."""
        if not isinstance(learner, TaskLearner):
            return self._unchanging(name, learner, lines)
        if learner_entry(name).is_meta:
            return task_calibration(learner, [task for line in lines for task in self._tasks[line.name]])
        fallback = self._unchanging(BANK, self._fresh(BANK), lines)
        return replace(self._unchanging(name, learner, lines), fallback=fallback)

    def _unchanging(self, name: str, learner: Learner, lines: Sequence[ProductLine]) -> PooledCalibration:
        for line in lines:
            if (name, line.name) not in self._scores:
                self._scores[name, line.name] = self._sources.scores(learner, line)
        return pool([scores for line in lines for scores in self._scores[name, line.name]])

    def _pooled(self, lines: Sequence[ProductLine], learner: TaskLearner | None) -> tuple[TaskLearner, float]:
        if not lines:
            raise LineError(
                "training lines with defective images", "none", "add lines with defects, or evaluate memory_bank alone"
            )
        fresh = learner or self._fresh(POOLED)
        assert isinstance(fresh, TaskLearner)
        return fresh, self._outer_loop(fresh, lines, self._request.iterations)

    def _outer_loop(
        self, learner: TaskLearner, lines: Sequence[ProductLine], steps: int, seed: int | None = None
    ) -> float:
        """Train in place. Returns the seconds it took once the episodes were prepared."""
        tasks = []
        for line in lines:
            if line.name not in self._tasks:
                self._on_progress(Progress(stage="episodes", done=len(self._tasks)))
                self._tasks[line.name] = self._sources.tasks(learner, line)
            tasks += self._tasks[line.name]
        stage = f"meta-train {learner.name}"

        def tell(step: int, loss: float) -> None:
            if step % 50 == 0 or step == steps:
                self._on_progress(Progress(stage=stage, done=step, total=steps, figures={"loss": loss}))

        config = MetaTrainingConfig(steps=steps, seed=self._request.seed if seed is None else seed)
        start = time.perf_counter()
        meta_train(learner, tasks, config, on_step=lambda step, report: tell(step, report.loss))
        return time.perf_counter() - start

    def _fresh(self, name: str) -> Learner:
        pooled = self._request.iterations
        own = 0 if name == POOLED else max(10, pooled // 3)
        return make_learner(name, self._spec, outer_steps=pooled + own, pooled_steps=pooled, seed=self._request.seed)
