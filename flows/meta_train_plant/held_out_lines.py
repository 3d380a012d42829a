"""How well lines are judged by what other lines taught: each line is held out once, with everything it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flows.meta_train.outer_loop import Training, prepare_tasks, set_up
from flows.meta_train.request import MetaTrainRequest
from flows.meta_train_plant.registered_lines import RegisteredLine
from flows.meta_train_plant.request import MetaTrainPlantRequest
from flows.progress import OnProgress
from flows.source_lines import CALIBRATION_QUERY, task_calibration
from model_zoo.learner_table import make_learner
from pipeline.calibration import PooledCalibration
from pipeline.episode_draws import sample_images
from pipeline.evaluation import score_levels
from pipeline.head_calibration import calibrate_head
from pipeline.learner import Learner, OuterStepReport
from pipeline.meta_training import MetaTrainingConfig, meta_train
from pipeline.metrics import false_reject_rate, image_auroc, missed_defect_rate
from pipeline.settings import Settings
from pipeline.support import build_query, build_support


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A learner, what the lines that taught it say about thresholds (None: nothing did), and its outer steps."""

    learner: Learner
    calibration: PooledCalibration | None = None
    reports: tuple[OuterStepReport, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of a line: image AUROC, and the shares of missed defects and rejected good parts at its promised rate, 0..1."""

    image_auroc: float
    missed_defects: float
    false_rejects: float


class Teaching:
    """A learner that is taught by some of the lines. Their episodes are prepared once.

    Args:
        request: its settings; `auto` is taught nothing.
        lines: that teach it.
        settings: of this process.
        on_progress: told of the episodes.

    Raises:
        ConfigError, StorageError: as `set_up` says.
    """

    def __init__(
        self,
        request: MetaTrainRequest,
        lines: Sequence[RegisteredLine],
        settings: Settings,
        on_progress: OnProgress,
    ) -> None:
        self.training: Training = set_up(request, settings, ([one.line for one in lines], []))
        meta = self.training.learner.as_meta()
        self._tasks = prepare_tasks(self.training, meta, on_progress) if meta else []

    def without(self, held_out: Iterable[str] = ()) -> Taught:
        """The learner that all lines but these teach.

        Raises:
            ConfigError: none is left.
        """
        request, names = self.training.request, frozenset(held_out)
        learner = make_learner(
            request.learner.value, self.training.spec, outer_steps=request.iterations, seed=request.seed
        )
        meta = learner.as_meta()
        if meta is None:
            return Taught(learner=learner)
        tasks = [task for task in self._tasks if task.line not in names]
        reports = meta_train(meta, tasks, MetaTrainingConfig(steps=request.iterations, seed=request.seed))
        return Taught(learner=learner, calibration=task_calibration(meta, tasks), reports=tuple(reports))

    def finished(self, taught: Taught) -> Training:
        """The training whose learner is the one that was taught."""
        return replace(self.training, learner=taught.learner)

    def judge(self, taught: Taught, line: RegisteredLine, asked: MetaTrainPlantRequest) -> Figures:
        """Adapt to so many supports of a line, each without defects and with some, and score the rest of its images.

        Args:
            taught: not by this line.
            line: with images enough, see `RegisteredLine.judges`.
            asked: for so many images of a support, and supports. Half of the line's defects are left to score, or more.

        Returns:
            Means over the supports.
        """
        sources, some = self.training.sources, min(asked.defects, len(line.line.defects) // 2)
        found: list[tuple[float, float, float]] = []
        for seed in range(asked.draws):
            images = sample_images(line.line, good=asked.good, defects=some, query=CALIBRATION_QUERY, seed=seed)
            query = build_query(images.query, sources.features, sources.preprocess)
            labels = query.labels.numpy()
            for count in sorted({0, some}):
                support = build_support(
                    images.good,
                    images.defects[:count],
                    sources.features,
                    sources.preprocess,
                    sources.support,
                    seed=seed,
                )
                head = taught.learner.adapt(support, seed=seed)
                reject = calibrate_head(head, support, line.rate, taught.calibration).threshold.reject
                scores = score_levels(head, query.levels).image_score.double().numpy()
                rates = missed_defect_rate(scores, labels, reject), false_reject_rate(scores, labels, reject)
                found.append((image_auroc(scores, labels), *rates))
        auroc, missed, rejected = np.mean(found, axis=0)
        return Figures(image_auroc=float(auroc), missed_defects=float(missed), false_rejects=float(rejected))


def folds_of(lines: Sequence[RegisteredLine], count: int) -> list[tuple[RegisteredLine, ...]]:
    """The lines in at most `count` parts of about equal size.

    Lines of one folder may stand in several parts: a plant's next line resembles those that it has, too.
    """
    return [tuple(lines[start::count]) for start in range(min(count, len(lines)))]
