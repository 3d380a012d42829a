"""Meta-training of an evaluation's folds: every requested learner on a fold's source lines."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flows.evaluate.request import EvaluateRequest
from flows.progress import OnProgress, Progress
from flows.source_lines import Sources, task_calibration
from model_zoo.learner_table import make_learner
from pipeline.calibration import PooledCalibration
from pipeline.errors import LineError
from pipeline.evaluation import Fold
from pipeline.features import BackboneSpec
from pipeline.learner import Learner, MetaLearner, Preparation
from pipeline.meta_training import MetaTrainingConfig, SourceTask, meta_train
from pipeline.product_lines.lines import ProductLine

POOLED = "in_context"
"""The learner that pooled training gives: all of its outer steps are pooled ones."""

GENERATED = "generated"
"""The data set of generated source lines. They teach, but thresholds are pooled from real lines where there are any:
real cameras and parts stray in their own ways."""


@dataclass(frozen=True)
class Trained:
    """A learner of a fold.

    Args:
        learner: adapts to the fold's lines.
        calibration: what its source lines say about thresholds, where that was asked for.
        seconds: that its outer loop took, from prepared episodes on, pooled steps included; 0 where nothing is learned
            from other lines.
        start: the pooled head that its own steps begin with, as a learner that uses it as it is; None where it has no
            steps of its own after the pooled ones.
    """

    learner: Learner
    calibration: PooledCalibration | None
    seconds: float
    start: Trained | None = None

    @property
    def pooled_head(self) -> Trained | None:
        """The head that all source lines together give and no line adapts: what its own steps begin with, itself where
        it has none, None where it learns nothing from other lines.
        """
        return self.start or (self if self.learner.as_meta() else None)


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
        self._tasks: dict[tuple[Preparation | str, str], list[SourceTask]] = {}

    def train(
        self, fold: Fold, learners: Iterable[str], *, calibrate: bool = True, calibrate_starts: bool = False
    ) -> dict[str, Trained]:
        """Every learner by name, meta-trained on the fold's source lines where it is a meta-learner, as often as
        `linewise meta-train` does: the request's iterations are all of its outer steps. Those with steps of their own
        share the pooled ones that come before.

        Args:
            fold: whose source lines teach.
            learners: names.
            calibrate: ask the source lines about thresholds of the learners.
            calibrate_starts: and of the pooled heads they start from.

        Raises:
            LineError: a meta-learner is asked for, and no source line has defects.
        """
        usable = [line for line in fold.train if line.defects]
        pooled: Trained | None = None
        trained = {}
        for name in learners:
            learner = self._fresh(name)
            meta, seconds, start = learner.as_meta(), 0.0, None
            if meta is not None:
                steps = meta.config.outer_steps
                if meta.config.pooled_steps < steps:
                    pooled = pooled or self._pooled(meta.config.pooled_steps, usable, calibrate_starts)
                    start, seconds, steps = pooled, pooled.seconds, steps - meta.config.pooled_steps
                    meta.warm_start(pooled.learner)
                seconds += self._outer_loop(meta, usable, steps)
            trained[name] = Trained(
                learner, self._calibration(name, learner, usable) if calibrate else None, seconds, start
            )
        return trained

    def go_on(
        self, name: str, learner: Learner, lines: Sequence[ProductLine], *, steps: int, stage: int
    ) -> MetaLearner:
        """A further outer loop from a learner's weights, with a rate that starts and falls anew; the learner stays.

        Args:
            name: of a meta-learner in the table.
            learner: trained before.
            lines: to train on.
            steps: of the outer loop.
            stage: number of this loop, part of its seed.
        """
        seed = self._request.seed + stage
        further = make_learner(name, self._spec, outer_steps=steps, pooled_steps=0, seed=seed).as_meta()
        assert further is not None
        further.load_state_dict(learner.state_dict())
        self._outer_loop(further, lines, steps, seed)
        return further

    def _pooled(self, steps: int, lines: Sequence[ProductLine], calibrate: bool) -> Trained:
        """The head that so many pooled steps give."""
        learner = make_learner(POOLED, self._spec, outer_steps=steps, seed=self._request.seed).as_meta()
        assert learner is not None
        seconds = self._outer_loop(learner, lines, steps)
        return Trained(learner, self._calibration(POOLED, learner, lines) if calibrate else None, seconds)

    def _calibration(self, name: str, learner: Learner, lines: Sequence[ProductLine]) -> PooledCalibration | None:
        """From the prepared episodes for a meta-learner; None: no lines, or it learns nothing from them.

        `adapt` sets the threshold of a learner that is not meta-trained by the line's own images alone, so the
        evaluation does.
        """
        judges = [line for line in lines if line.data_set != GENERATED] or lines
        if not judges or (meta := learner.as_meta()) is None:
            return None
        self._on_progress(Progress(stage=f"calibrate {name}", done=0))
        return task_calibration(meta, [task for line in judges for task in self._episodes(meta, line)])

    def _episodes(self, learner: MetaLearner, line: ProductLine) -> list[SourceTask]:
        """The line's episodes, prepared once for all learners that prepare alike."""
        key = learner.preparation or learner.name, line.name
        if key not in self._tasks:
            self._on_progress(Progress(stage="episodes", done=len(self._tasks)))
            self._tasks[key] = self._sources.tasks(learner, line)
        return self._tasks[key]

    def _outer_loop(
        self, learner: MetaLearner, lines: Sequence[ProductLine], steps: int, seed: int | None = None
    ) -> float:
        """Train in place. Returns the seconds it took once the episodes were prepared."""
        if not lines:
            raise LineError(
                "training lines with defective images", "none", "add lines with defects, or evaluate memory_bank alone"
            )
        tasks = [task for line in lines for task in self._episodes(learner, line)]
        stage = f"meta-train {learner.name}"

        def tell(step: int, loss: float) -> None:
            if step % 50 == 0 or step == steps:
                self._on_progress(Progress(stage=stage, done=step, total=steps, figures={"loss": loss}))

        config = MetaTrainingConfig(steps=steps, seed=self._request.seed if seed is None else seed)
        start = time.perf_counter()
        meta_train(learner, tasks, config, on_step=lambda step, report: tell(step, report.loss))
        return time.perf_counter() - start

    def _fresh(self, name: str) -> Learner:
        return make_learner(name, self._spec, outer_steps=self._request.iterations, seed=self._request.seed)
