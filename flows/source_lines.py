"""Source lines as a job uses them: looked at, episodes drawn from each, prepared for the outer loop, pooled for
calibration.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from flows.progress import OnProgress, Progress
from model_zoo.learning.guard import bank_scores
from pipeline.calibration import PooledCalibration, SourceScores, pool
from pipeline.episode_draws import sample_episode
from pipeline.episodes import Episode
from pipeline.errors import LineError
from pipeline.head_calibration import source_scores
from pipeline.imaging.bayer_pattern import BayerPattern
from pipeline.imaging.images import PreprocessSpec
from pipeline.learner import Learner, MetaLearner
from pipeline.meta_training import SourceTask
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.product_lines.usable_lines import usable_line
from pipeline.support import FeatureSource, SupportConfig

EPISODES_PER_LINE = 4
CALIBRATION_EPISODES = 2
QUERY_IMAGES = 16
CALIBRATION_QUERY = 96  # a 1 % tail needs hundreds of good images in all


def usable_lines(folder: Path, on_progress: OnProgress, bayer: BayerPattern | None = None) -> list[ProductLine]:
    """The lines under a folder, each without what cannot be used, which is remarked on; see `usable_line`.

    Raises:
        LineError: no line, or one that cannot be used.
    """
    lines: list[ProductLine] = []
    found = find_lines(folder)
    for line in found:
        on_progress(Progress(stage="check lines", done=len(lines), total=len(found)))
        usable, said = usable_line(line, bayer=bayer)
        lines.append(usable)
        for sentence in said:
            on_progress(Progress(stage="check lines", done=len(lines), total=len(found), remark=sentence))
    on_progress(Progress(stage="check lines", done=len(lines), total=len(found)))
    return lines


@dataclass(frozen=True)
class Sources:
    """Where episodes come from: the features, how images are read, how many good and defective images they hold.

    With several numbers of good images the episodes of a line take them in turn, each line from another one on, and
    thresholds are pooled over all of them: as one meta-model serves every line, whatever it is given.
    """

    features: FeatureSource
    preprocess: PreprocessSpec
    good: tuple[int, ...]
    defects: int
    seed: int
    support: SupportConfig = field(default_factory=SupportConfig)

    def episodes(self, line: ProductLine, count: int = EPISODES_PER_LINE) -> list[Episode]:
        """Episodes to meta-train on: with all the defects, none, one, and so on in turn.

        Raises:
            LineError: the line has too few images for an episode with a defect to judge by.
        """
        if not line.defects:
            raise LineError(
                f"defective images in the training line {line.name}",
                "none",
                "add some to learn what defects look like, or leave the line out",
            )
        turns = (self.defects, 0, min(1, self.defects))
        goods = self._goods(line)
        return [
            self.episode(line, goods[i % len(goods)], turns[i % 3], QUERY_IMAGES, self.seed * 100 + i)
            for i in range(count)
        ]

    def scores(self, learner: Learner, line: ProductLine) -> list[SourceScores]:
        """What this line says about thresholds: the learner, unguarded, adapts to a few episodes of it."""
        scores = []
        for i in range(CALIBRATION_EPISODES):
            seed = self.seed * 100 + 50 + i
            goods = self._goods(line)
            episode = self.episode(line, goods[i % len(goods)], (0, self.defects)[i % 2], CALIBRATION_QUERY, seed)
            scores.append(source_scores(learner.unguarded(), line.name, episode.support, episode.query, seed=seed))
        return scores

    def tasks(self, learner: MetaLearner, line: ProductLine) -> list[SourceTask]:
        """The line's episodes, prepared for the outer loop."""
        return [SourceTask(line.data_set, line.name, learner.prepare(episode)) for episode in self.episodes(line)]

    def _goods(self, line: ProductLine) -> tuple[int, ...]:
        """The numbers of good images in this line's order."""
        first = zlib.crc32(line.name.encode()) % len(self.good)
        return self.good[first:] + self.good[:first]

    def episode(self, line: ProductLine, good: int, defects: int, query: int, seed: int) -> Episode:
        """One episode: a support of `good` and `defects` images, a query set of `query` others."""
        return sample_episode(
            line,
            self.features,
            self.preprocess,
            self.support,
            good=good,
            defects=defects,
            query=query,
            seed=seed,
        )


def task_calibration(learner: MetaLearner, tasks: Sequence[SourceTask]) -> PooledCalibration:
    """What prepared episodes say about thresholds, with this learner and with the memory bank where it may fall back to
    that.
    """
    found = pool([_scores_of(task, learner.good_scores(task.prepared, seed=i)) for i, task in enumerate(tasks)])
    if learner.fallback is None:
        return found
    return replace(found, fallback=pool([_scores_of(task, bank_scores(task.prepared)) for task in tasks]))


def _scores_of(task: SourceTask, found: tuple[Tensor, Tensor]) -> SourceScores:
    support, query = (part.double().numpy() for part in found)
    return SourceScores(task.line, support, query)
