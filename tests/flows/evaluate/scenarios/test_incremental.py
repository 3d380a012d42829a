"""Incremental learning as a job: lines that arrive one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from flows.evaluate import job as evaluate
from flows.evaluate.request import Scenario
from flows.evaluate.scenarios import incremental
from flows.evaluate.scenarios.bench import Bench
from flows.evaluate.scenarios.fold_training import FoldTrainer, Trained
from flows.progress import Progress, ignore_progress
from pipeline.errors import LineError
from pipeline.evaluation import Fold, Row
from pipeline.learner import Learner, MetaLearner
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import Settings
from pipeline.synthetic.lines import write_lines
from tests.flows.evaluate.scenarios.evaluated import LEARNERS_HERE, figures, request


class RecordingTrainer(FoldTrainer):
    """Keeps which lines each training was given."""

    seen: list[Sequence[ProductLine]]

    def train(
        self, fold: Fold, learners: Iterable[str], *, calibrate: bool = True, calibrate_starts: bool = False
    ) -> dict[str, Trained]:
        self.seen = [fold.train]
        return super().train(fold, learners, calibrate=calibrate, calibrate_starts=calibrate_starts)

    def go_on(
        self, name: str, learner: Learner, lines: Sequence[ProductLine], *, steps: int, stage: int
    ) -> MetaLearner:
        self.seen.append(lines)
        return super().go_on(name, learner, lines, steps=steps, stage=stage)


@pytest.fixture(scope="module")
def staged(lines: Path, settings: Settings) -> tuple[list[Row], list[Sequence[ProductLine]], Fold]:
    job = request(lines, Scenario.INCREMENTAL)
    bench = Bench(job, settings, ignore_progress)
    trainer = RecordingTrainer(job, bench.backbone().opened.spec, bench.sources, ignore_progress)
    bench.trainer = trainer
    (part,) = [part for part in incremental.parts(job, settings, ignore_progress) if part.name == "hypernetwork"]
    return list(incremental.rows(bench, part)), trainer.seen, part


def test_every_line_is_measured_at_every_stage_since_it_arrived(staged):
    rows, _, part = staged
    arrived = {line.name: stage for stage, line in enumerate(part.test, 1)}
    cells = Counter((row["line"], row["condition"], row["stage"]) for row in rows)
    assert set(cells.values()) == {1}
    assert {(row["line"], row["arrived"]) for row in rows} == set(arrived.items())
    assert sorted(cells) == sorted(
        (line, condition, stage)
        for line, first in arrived.items()
        for condition in ("replay", "newest line alone")
        for stage in range(first, 4)
    )


def test_replay_trains_on_all_that_arrived_and_the_comparison_on_the_newest_alone(staged):
    _, seen, part = staged
    names = [line.name for line in part.test]
    assert [[line.name for line in lines] for lines in seen] == [
        *([names[:1]]),
        *(names[:2], names),
        *(names[1:2], names[2:]),
    ]


def test_no_image_is_trained_on_and_tested(staged, lines):
    _, seen, part = staged
    trained = {r.path for group in seen for line in group for r in (*line.train_good, *line.test_good, *line.defects)}
    everything: set[Path] = set()
    for line in part.test:
        _, test = incremental.halves(line, 0)
        tested = {r.path for r in (*test.train_good, *test.test_good, *test.defects)}
        assert not tested & trained
        everything |= tested
    everything |= trained
    whole = {r.path for line in find_lines(lines) for r in (*line.train_good, *line.test_good, *line.defects)}
    assert everything == whole


def test_the_first_stage_is_common_and_later_ones_are_not(staged):
    rows, _, part = staged
    first = part.test[0].name

    def at(condition: str, stage: int) -> dict[str, float | None]:
        (row,) = [r for r in rows if (r["line"], r["condition"], r["stage"]) == (first, condition, stage)]
        return figures(row)

    assert at("replay", 1) == at("newest line alone", 1)
    assert at("replay", 3) != at("replay", 1), "the trunk went on learning"
    assert at("replay", 3) != at("newest line alone", 3)


def test_halves_are_drawn_by_the_seed_and_hold_every_kind(lines):
    line = find_lines(lines)[0]
    one, again, other = (incremental.halves(line, seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    for kind, count in Counter(record.kind for record in line.defects).items():
        split = [sum(record.kind == kind for record in half.defects) for half in one]
        assert sum(split) == count
        assert abs(split[0] - split[1]) <= 1


def test_a_line_too_small_to_split_is_one_sentence(tmp_path, settings):
    write_lines(tmp_path / "few", (5,), good=4, test_good=2, defects=1, size=96)
    with pytest.raises(LineError, match="at least 4 good and 2 defective images"):
        evaluate.run(request(tmp_path / "few", Scenario.INCREMENTAL), settings)


def test_an_interrupted_scenario_goes_on_with_the_parts_that_are_missing(lines, settings):
    job = request(lines, Scenario.INCREMENTAL, learners=LEARNERS_HERE[:2], seed=7)

    def interrupt(progress: Progress) -> None:
        if (progress.stage, progress.done) == ("folds", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate.run(job, settings, interrupt)
    told: list[Progress] = []
    resumed = evaluate.run(job, settings, told.append)
    assert [(p.done, p.total) for p in told if p.stage == "folds"] == [(1, 2), (2, 2)]
    assert not [p for p in told if p.stage == "test memory_bank"]
    assert {row["learner"] for row in resumed.rows} == {"memory_bank", "in_context"}
    bank = [row for row in resumed.rows if row["learner"] == "memory_bank"]
    for line in {row["line"] for row in bank}:
        of_line = [figures(row) for row in bank if row["line"] == line]
        assert all(row == of_line[0] for row in of_line), "no trunk: the same at every stage"
