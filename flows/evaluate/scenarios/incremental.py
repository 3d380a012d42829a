"""Incremental: product lines arrive one after another, and what meta-training learned goes on with them.

A line that is in production keeps its bank and its theta for good, so its scores cannot get worse: nothing is forgotten
by construction. What can forget is the trunk, which every later adaptation rests on. It is measured so:

- The folder's lines arrive in an order drawn from the seed. Each line's images are split by the seed into a training
  half and a test half; meta-training sees the first, supports and queries come from the second.
- Stage 1 meta-trains the learner on the first line (and the generated lines, where asked for) with all iterations.
  After each further arrival the outer loop goes on for `arrival_iterations` steps, its rate starting anew: under the
  condition **replay** on all lines that have arrived, under **newest line alone** on the latest arrival only.
- After each stage every line that has arrived is adapted to anew with the stage's trunk and measured. Rows have
  `stage`, counted from 1, and `arrived`, the stage at which the row's own line came.
- Forgetting of a line, taken in the summary: its best figure of an earlier stage minus its figure of the last stage.
  The best of several noisy figures lies above their mean, so compare the two conditions, not one of them with zero.

Thresholds come from a line's own support alone. Learners that learn nothing from other lines have no trunk to forget:
their rows are the same at every stage, for comparison. The parts of the work are the learners; the request's protocol
has no say.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from flows.asking.learner_names import LearnerName
from flows.evaluate.request import EvaluateRequest
from flows.evaluate.scenarios.bench import Bench
from flows.evaluate.scenarios.conditions import Update
from flows.evaluate.scenarios.folds import generated_lines
from flows.progress import OnProgress, Progress
from flows.source_lines import usable_lines
from pipeline.errors import LineError
from pipeline.evaluation import Fold, Row
from pipeline.learner import Learner
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.settings import Settings


def parts(request: EvaluateRequest, settings: Settings, on_progress: OnProgress) -> list[Fold]:
    """One a learner, named after it: the generated lines train from the start, the others in their order of arrival.

    Raises:
        LineError: no lines, or one has too few images to split into a training and a test half.
    """
    generated = generated_lines(request, settings, on_progress)
    assert request.lines is not None
    lines = usable_lines(request.lines, on_progress, request.bayer)
    for line in lines:
        halves(line, request.seed)
    order = np.random.default_rng(request.seed).permutation(len(lines))
    arriving = tuple(lines[i] for i in order)
    return [Fold(name.value, generated, arriving) for name in dict.fromkeys(request.learners)]


def halves(line: ProductLine, seed: int) -> tuple[ProductLine, ProductLine]:
    """The line's training and test half: of its good training images, its good test images and every kind of defect.

    Raises:
        LineError: a half would lack good or defective images.
    """
    rng = np.random.default_rng([seed, zlib.crc32(line.name.encode())])
    kinds = sorted({record.kind for record in line.defects})
    groups = [_shuffled([record for record in line.defects if record.kind == kind], rng) for kind in kinds]
    defects = [record for group in groups for record in group]
    good, test_good = _shuffled(line.train_good, rng), _shuffled(line.test_good, rng)
    training, test = (
        replace(line, train_good=tuple(good[i::2]), test_good=tuple(test_good[i::2]), defects=tuple(defects[i::2]))
        for i in range(2)
    )
    for half in (training, test):
        if not half.train_good or not half.defects or len(half.train_good) + len(half.test_good) < 2:
            raise LineError(
                f"at least 4 good and 2 defective images in {line.root}, to train on one half and test on the other",
                f"{len(good) + len(test_good)} good and {len(defects)} defective",
                "add images, or leave the line out",
            )
    return training, test


def rows(bench: Bench, fold: Fold) -> Iterator[Row]:
    """Let the lines arrive, then measure each with the learner as it was after every stage since."""
    name = LearnerName(fold.name)
    both = [halves(line, bench.request.seed) for line in fold.test]
    histories = _histories(bench, fold, name, [training for training, _ in both])
    for arrived, (_, line) in enumerate(both, 1):
        for seed in range(bench.request.seeds):
            bench.on_progress(Progress(stage=f"test {name.value}", done=arrived - 1, total=len(both)))
            drawn = bench.draw(line, seed)
            query = bench.query(drawn.query)
            for good, defects in bench.numbers():
                support = bench.support(drawn, good, defects, seed)
                figures: dict[int, Row] = {}  # of a learner that several stages or both conditions share
                for condition, history in histories.items():
                    for stage in range(arrived, len(both) + 1):
                        learner = history[stage - 1]
                        if id(learner) not in figures:
                            adapted = bench.adapt(name.value, learner, support)
                            figures[id(learner)] = bench.row(
                                line, name.value, support, adapted, query, calibration=None
                            )
                        yield figures[id(learner)] | {"condition": condition, "stage": stage, "arrived": arrived}


def _histories(
    bench: Bench, fold: Fold, name: LearnerName, arriving: Sequence[ProductLine]
) -> dict[str, list[Learner]]:
    """By condition, the learner as it is after each stage."""
    first = Fold(fold.name, (*fold.train, arriving[0]), ())
    start = bench.trainer.train(first, [name.value], calibrate=False)[name.value].learner
    histories: dict[str, list[Learner]] = {Update.REPLAY: [start], Update.NEWEST: [start]}
    for condition, history in histories.items():
        for stage in range(2, len(arriving) + 1):
            learner = history[-1]
            if learner.as_meta() is not None:
                seen = [*fold.train, *arriving[:stage]] if condition == Update.REPLAY else [arriving[stage - 1]]
                steps = bench.request.arrival_iterations
                learner = bench.trainer.go_on(name.value, learner, seen, steps=steps, stage=stage)
            history.append(learner)
    return histories


def _shuffled(records: Sequence[ImageRecord], rng: np.random.Generator) -> list[ImageRecord]:
    return [records[i] for i in rng.permutation(len(records))]
