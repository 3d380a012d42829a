"""Few-shot with unlabelled images: what is drawn, and what the tables say of it."""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path

import pytest

from flows.asking.learner_names import LearnerName
from flows.evaluate import job as evaluate
from flows.evaluate.figures.evaluation_rows import METRICS, Setting, parse_rows
from flows.evaluate.request import EvaluateRequest, Protocol, Scenario
from flows.evaluate.scenarios import few_shot
from flows.evaluate.scenarios.bench import Bench
from flows.progress import ignore_progress
from model_zoo.learner_table import make_learner
from pipeline import take_up
from pipeline.episode_draws import EpisodeImages, sample_images
from pipeline.evaluation import Fold, Row
from pipeline.product_lines.lines import ProductLine, find_lines, load_line
from pipeline.settings import Settings
from pipeline.synthetic.lines import write_line
from tests.flows.evaluate.scenarios.evaluated import SIZE, request


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One line of 16 good images, and six to test on; 12 defects."""
    folder = tmp_path_factory.mktemp("plant")
    write_line(folder, 3, good=16, test_good=6, defects=12, size=96)
    return folder


@pytest.fixture(scope="module")
def line(plant: Path) -> ProductLine:
    return load_line(next(plant.iterdir()))


def draw(
    line: ProductLine,
    unlabelled: int,
    contamination: float,
    seed: int = 0,
    *,
    of_production: bool = False,
    one_kind: bool = False,
) -> EpisodeImages:
    return sample_images(
        line,
        good=4,
        defects=2,
        query=100,
        seed=seed,
        spare_good=False,
        unlabelled=unlabelled,
        contamination=contamination,
        of_production=of_production,
        one_kind=one_kind,
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_image_is_in_two_parts_of_a_draw(line: ProductLine, seed: int):
    drawn = draw(line, 10, 0.2, seed)
    parts = (drawn.good, drawn.defects, drawn.query, drawn.unlabelled)
    assert [len(part) for part in parts] == [4, 2, 6 + 12 - 2 - 2, 10]
    assert len({record.path for part in parts for record in part}) == sum(map(len, parts))
    assert Counter(record.is_defect for record in drawn.unlabelled) == {False: 8, True: 2}
    assert not any(record.is_defect for record in drawn.good)


def test_half_of_the_good_test_images_are_production_and_not_judged(line: ProductLine):
    drawn = draw(line, 10, 0.2, of_production=True)
    parts = (drawn.good, drawn.defects, drawn.query, drawn.unlabelled)
    assert [len(part) for part in parts] == [4, 2, 3 + 12 - 2 - 2, 10]
    assert len({record.path for part in parts for record in part}) == sum(map(len, parts))
    produced = [record for record in drawn.unlabelled if record in line.test_good]
    assert (len(produced), drawn.unlabelled[:3]) == (3, tuple(produced))
    assert draw(line, 0, 0.2, of_production=True) == draw(line, 0, 0.2), (
        "nothing is set aside where nothing is asked for"
    )


@pytest.mark.parametrize("seed", range(3))
def test_unlabelled_defects_of_one_kind_are_of_the_most_frequent_one(line: ProductLine, seed: int):
    drawn = draw(line, 10, 0.3, seed, one_kind=True)
    parts = (drawn.good, drawn.defects, drawn.query, drawn.unlabelled)
    assert len({record.path for part in parts for record in part}) == sum(map(len, parts))
    left = Counter(record.kind for record in line.defects if record not in drawn.defects)
    (kind, found), *none = Counter(record.kind for record in drawn.unlabelled if record.is_defect).items()
    assert not none
    assert (left[kind], found) == (max(left.values()), min(3, left[kind]))
    assert draw(line, 0, 0.3, seed, one_kind=True).defects == draw(line, 0, 0.3, seed).defects


def test_a_limited_query_has_the_kinds_that_it_has_without_unlabelled_defects_of_one(line: ProductLine):
    def kinds(*, unlabelled: int, one_kind: bool) -> list[str]:
        drawn = sample_images(
            line,
            good=4,
            defects=2,
            query=8,
            seed=0,
            spare_good=False,
            unlabelled=unlabelled,
            contamination=0.3,
            one_kind=one_kind,
        )
        return [record.kind for record in drawn.query]

    assert kinds(unlabelled=0, one_kind=True) == kinds(unlabelled=0, one_kind=False)
    assert len({*kinds(unlabelled=4, one_kind=True)}) > 2, "good ones, and defects of several kinds"


def test_a_smaller_number_of_unlabelled_images_is_the_first_part_of_a_larger_with_the_same_share(line: ProductLine):
    drawn = draw(line, 10, 0.2)
    some = drawn.first_unlabelled(5, 0.2)
    assert Counter(record.is_defect for record in some.unlabelled) == {False: 4, True: 1}
    for is_defect in (False, True):
        larger, smaller = (
            [record for record in of.unlabelled if record.is_defect is is_defect] for of in (drawn, some)
        )
        assert larger[: len(smaller)] == smaller
    assert some.query == drawn.query
    assert drawn.first_unlabelled(0, 0.2).unlabelled == ()


def test_a_draw_without_unlabelled_images_is_as_it_was(line: ProductLine):
    without, drawn = draw(line, 0, 0.2), draw(line, 10, 0.0)
    assert without.unlabelled == ()
    assert (without.good, without.defects, without.query) == (drawn.good, drawn.defects, drawn.query)


@pytest.fixture(scope="module")
def evaluated(
    plant: Path, lines: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Row], Path]:
    """Rows for none, five and more unlabelled images than the line has; the table's file."""
    table = tmp_path_factory.mktemp("table") / "rows.csv"
    asked = EvaluateRequest(
        protocol=Protocol.TRAIN_TEST,
        train_lines=lines / "two",
        test_lines=plant,
        learners=(LearnerName.AUTO, LearnerName.MEMORY_BANK),
        size=SIZE,
        good=(4,),
        defects=(2,),
        seeds=1,
        unlabelled=(30, 0, 5, 20),
        contamination=0.2,
        csv_path=table,
    )
    return evaluate.run(asked, settings).rows, table


def test_each_number_of_unlabelled_images_is_a_row_of_every_learner(evaluated: tuple[list[Row], Path]):
    rows, _ = evaluated
    assert Counter((row["learner"], row["unlabelled"]) for row in rows) == {
        (learner, count): 1 for learner in ("auto", "memory_bank") for count in (0, 5, 20, 30)
    }
    for row in rows:
        assert row["contamination"] == (0.2 if row["unlabelled"] else 0.0)
        assert 0 <= row["lowest_rate"] < row["highest_rate"] <= 1
        assert 0 <= row["known_defects_passed"] <= 1
        assert {metric.key for metric in METRICS} <= row.keys()
    for learner in ("auto", "memory_bank"):
        assert len({row["pixel_auroc"] for row in rows if row["learner"] == learner}) > 1, "it learned of them"


def test_fewer_unlabelled_images_than_asked_for_are_noted(evaluated: tuple[list[Row], Path]):
    notes = {row["unlabelled"]: row["note"] for row in evaluated[0]}
    assert notes[0] == notes[5] == ""
    assert notes[20] == "16 of 20 unlabelled images, 4 of them defective"
    assert notes[30] == "18 of 30 unlabelled images, 6 of them defective"


def test_the_table_tells_the_numbers_apart(evaluated: tuple[list[Row], Path]):
    rows, table = evaluated
    with table.open(newline="") as file:
        told = list(csv.DictReader(file))
    assert Counter(row["unlabelled"] for row in told) == {"0": 2, "5": 2, "20": 2, "30": 2}
    labels = {row.setting.label for row in parse_rows(rows)}
    assert labels == {"4 good, 2 defects", *(f"4 good, 2 defects, {count} unlabelled" for count in (5, 20, 30))}
    assert Setting(1, 1, unlabelled=30, condition="light").label == "1 good, 1 defect, 30 unlabelled, light"


def test_rows_of_before_have_no_unlabelled_images():
    (row,) = parse_rows([{"line": "a", "learner": "auto", "good": 4, "defects": 0, "seed": 0}])
    assert row.setting.unlabelled == 0


def test_the_query_is_the_same_for_all_numbers_and_shares_no_image_with_the_support(
    plant: Path, line: ProductLine, settings: Settings
):
    asked = request(plant, Scenario.FEW_SHOT, learners=(LearnerName.MEMORY_BANK,), good=(4,), unlabelled=(0, 10))
    bench = Bench(asked, settings, ignore_progress)
    drawn = bench.draw(line, 0)
    query, learner = {record.path for record in drawn.query}, make_learner("memory_bank", bench.backbone().opened.spec)
    for count in bench.unlabelled():
        support = bench.support(drawn, 4, 2, 0, count)
        images = (*support.images.good, *support.images.defects, *support.images.unlabelled)
        assert len(support.images.unlabelled) == count
        assert support.images.query == drawn.query
        assert not query & {record.path for record in images}
        adapted = bench.adapt("memory_bank", learner, support)
        known = {record.path for record in (*adapted.view.good, *adapted.view.defects)}
        assert (len(known) > 4 + 2) == (count > 0)
        assert known <= {record.path for record in images}


def test_where_nothing_is_taken_up_the_threshold_rests_on_the_source_lines(
    plant: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """As `adapt` sets it; it rested on the line alone, as if images without a label had been learned."""
    monkeypatch.setattr(take_up, "_limit", lambda *_: (-math.inf, True))
    changes = {"learners": (LearnerName.IN_CONTEXT,), "good": (4,), "defects": (2,), "iterations": 10, "seeds": 1}
    asked = request(plant, Scenario.FEW_SHOT, unlabelled=(0, 5), **changes)
    lines = tuple(find_lines(plant))
    without, left_out = few_shot.rows(Bench(asked, settings, ignore_progress), Fold("all", lines, lines))
    assert (without["unlabelled"], left_out["unlabelled"]) == (0, 5)
    promised = ("lowest_rate", "highest_rate")
    assert [left_out[name] for name in promised] == [without[name] for name in promised]
