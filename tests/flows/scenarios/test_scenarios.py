"""The scenarios as jobs, on generated lines, with the real backbone at a small size."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flows import cli
from flows.evaluation.rows import METRICS
from flows.jobs import evaluate
from flows.jobs.backbones import open_backbone
from flows.jobs.fold_training import FoldTrainer, Trained
from flows.jobs.names import UNTRAINED, LearnerName, Scenario
from flows.jobs.progress import Progress, ignore_progress
from flows.jobs.requests import EvaluateRequest
from flows.jobs.scenarios import domain_shift, incremental
from flows.jobs.scenarios.bench import Bench
from model_zoo.learner_table import LEARNERS, make_learner
from model_zoo.task_learner import TaskLearner
from pipeline.camera_shift import CameraShift
from pipeline.errors import ConfigError, LineError
from pipeline.evaluation import Fold, Row, read_truth, score_levels, seen_and_unseen
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ImageRecord, ProductLine, find_lines
from pipeline.settings import Settings, load_settings
from pipeline.support import EpisodeImages, SupportConfig, build_query, build_support, read_defect_mask, sample_images
from pipeline.synthetic.lines import write_lines

SIZE = 64
LEARNERS_HERE = (LearnerName.MEMORY_BANK, LearnerName.IN_CONTEXT, LearnerName.HYPERNETWORK)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    write_lines(folder / "one", (1, 2), good=6, test_good=6, defects=8, size=96)
    write_lines(folder / "two", (3,), good=6, test_good=6, defects=8, size=96)
    return folder


def request(lines: Path, scenario: Scenario, **changes: Any) -> EvaluateRequest:
    fields: dict[str, Any] = {
        "scenario": scenario,
        "lines": lines,
        "learners": LEARNERS_HERE,
        "good": 2,
        "defects": (2,),
        "seeds": 1,
    }
    return EvaluateRequest(**(fields | {"size": SIZE, "iterations": 12, "arrival_iterations": 10} | changes))


def figures(row: Row) -> dict[str, float | None]:
    """A row's metrics; nan as None, which equals itself."""
    shares = [metric.key for metric in METRICS if metric.unit == "share"]
    return {key: None if math.isnan(row[key]) else row[key] for key in shares}


def test_the_request_knows_which_learners_other_lines_do_not_train():
    assert {name.value for name in UNTRAINED} == {name for name, entry in LEARNERS.items() if not entry.is_meta}
    assert set(evaluate.SCENARIOS) == set(Scenario)


# --- few-shot


@pytest.fixture(scope="module")
def few(lines: Path, settings: Settings) -> list[Row]:
    job = request(lines, Scenario.FEW_SHOT, learners=(LearnerName.MEMORY_BANK,), good=(1, 2), defects=(0, 2))
    return evaluate.run(job, settings).rows


def test_few_shot_takes_several_numbers_of_good_images_and_tells_seen_from_unseen_defects(few, lines):
    assert Counter((row["good"], row["defects"]) for row in few) == {(k, m): 3 for k in (1, 2) for m in (0, 2)}
    assert all(math.isnan(row["image_auroc_seen"]) for row in few if row["defects"] == 0)
    assert any(not math.isnan(row["image_auroc_unseen"]) for row in few)
    for line in find_lines(lines):
        drawn = sample_images(line, good=2, defects=2, query=100, seed=0, spare_good=False)
        shown = {record.kind for record in drawn.defects}
        (row,) = [row for row in few if (row["line"], row["good"], row["defects"]) == (line.name, 2, 2)]
        unseen = any(record.kind not in shown for record in drawn.query if record.is_defect)
        assert math.isnan(row["image_auroc_unseen"]) == (not unseen)


def test_seen_and_unseen_share_the_good_images():
    kinds = ["good", "good", "crack", "hole", "crack"]
    scores = np.array([0.2, 0.6, 0.7, 0.4, 0.1])
    found = seen_and_unseen(scores, kinds, {"crack"})
    assert found == {"image_auroc_seen": 0.5, "image_auroc_unseen": 0.5}
    found = seen_and_unseen(np.array([0.2, 0.6, 0.7, 0.1, 0.8]), kinds, {"crack"})
    assert found == {"image_auroc_seen": 1.0, "image_auroc_unseen": 0.0}
    assert math.isnan(seen_and_unseen(scores, kinds, {"crack", "hole"})["image_auroc_unseen"])
    assert all(math.isnan(value) for value in seen_and_unseen(scores, kinds, set()).values())


# --- domain shift


@pytest.fixture(scope="module")
def shifted(lines: Path, settings: Settings) -> list[Row]:
    return evaluate.run(request(lines, Scenario.DOMAIN_SHIFT, shifts=("light", "magnification")), settings).rows


def test_domain_shift_has_a_row_for_every_shift_and_state(shifted):
    states = Counter((row["condition"], row["adaptation"], row["learner"]) for row in shifted)
    assert set(states.values()) == {3}
    expected = {("as taken", "unshifted", name.value) for name in LEARNERS_HERE}
    for condition in ("light", "magnification"):
        for adaptation in ("stale", "re-adapted", "unadapted"):
            learners = LEARNERS_HERE[1:] if adaptation == "unadapted" else LEARNERS_HERE
            expected |= {(condition, adaptation, name.value) for name in learners}
    assert set(states) == expected
    assert {row["strength"] for row in shifted if row["condition"] != "as taken"} == {1.0}
    assert {row["scenario"] for row in shifted} == {"domain-shift"}


def test_stale_and_re_adapted_are_what_they_claim(shifted, lines, settings):
    """Measured again from the files: support as taken or retaken, query always retaken."""
    backbone = open_backbone("tf_efficientnet_lite0", SIZE, settings)
    source, preprocess = backbone.cached(settings), backbone.preprocess()
    learner = make_learner("memory_bank", backbone.spec)
    shift = CameraShift("light", 1.0, 0)
    different = 0
    for line in find_lines(lines):
        drawn = sample_images(line, good=2, defects=2, query=100, seed=0, spare_good=False)
        records = [record.under(shift) for record in drawn.query]
        query, truth = build_query(records, source, preprocess), read_truth(records, (SIZE, SIZE))
        found = []
        for adaptation, good in (("stale", drawn.good), ("re-adapted", [record.under(shift) for record in drawn.good])):
            head = learner.adapt(build_support(good, (), source, preprocess, SupportConfig(), seed=0), seed=0)
            scores = score_levels(head, query.levels).image_score.double().numpy()
            (row,) = [
                row
                for row in shifted
                if (row["line"], row["learner"], row["condition"], row["adaptation"])
                == (line.name, "memory_bank", "light", adaptation)
            ]
            assert row["image_auroc"] == image_auroc(scores, truth.labels)
            assert row["pixel_auroc"] > 0
            found.append(scores)
        different += not np.allclose(found[0], found[1])
    assert different == 3, "else the two states could not be told apart"


def test_unadapted_is_the_pooled_head_on_the_stale_support(shifted):
    def of(learner: str, adaptation: str) -> list[dict[str, float | None]]:
        return [figures(r) for r in shifted if (r["learner"], r["adaptation"]) == (learner, adaptation)]

    assert of("in_context", "unadapted") == of("in_context", "stale")
    assert of("hypernetwork", "unadapted") == of("in_context", "unadapted")
    assert of("hypernetwork", "stale") != of("hypernetwork", "unadapted")


def test_unshifted_rows_are_those_of_few_shot_whatever_else_was_asked_for(shifted, few):
    """Also: the query does not depend on the smaller numbers of support images asked for along with the largest."""

    def measured(rows: list[Row]) -> dict[str, list[float]]:
        return {row["line"]: [row[key] for key in ("image_auroc", "image_ap", "pixel_auroc", "aupro")] for row in rows}

    unshifted = [row for row in shifted if (row["adaptation"], row["learner"]) == ("unshifted", "memory_bank")]
    assert measured(unshifted) == measured([row for row in few if (row["good"], row["defects"]) == (2, 2)])


def test_a_defect_that_magnification_moves_out_of_view_leaves_support_and_query(tmp_path):
    write_lines(tmp_path, (4,), good=2, test_good=2, defects=2, size=96)
    (line,) = find_lines(tmp_path)
    gone, stays = line.defects
    assert gone.mask_path is not None
    corners = np.zeros((96, 96), np.uint8)
    corners[:2, :2] = corners[-2:, :2] = corners[:2, -2:] = corners[-2:, -2:] = 255  # one camera shows one at most
    cv2.imwrite(str(gone.mask_path), corners)
    shift = next(s for s in (CameraShift("magnification", 2.0, seed) for seed in range(9)) if not shows(s, gone))
    seen = domain_shift.retaken(EpisodeImages(line.train_good, (gone, stays), (*line.test_good, gone, stays)), shift)
    assert [record.path for record in seen.defects] == [stays.path]
    assert [record.path for record in seen.query] == [record.path for record in (*line.test_good, stays)]
    assert all(record.shift == shift for record in (*seen.good, *seen.defects, *seen.query))
    light = domain_shift.retaken(EpisodeImages(line.train_good, (gone, stays), line.defects), CameraShift("light"))
    assert (len(light.defects), len(light.query)) == (2, 2)


def shows(shift: CameraShift, record: ImageRecord) -> bool:
    mask = read_defect_mask(record)
    return mask is not None and bool(shift.apply_mask(mask).any())


# --- multi-task


def test_multi_task_compares_a_shared_theta_with_a_theta_a_line(lines, settings):
    rows = evaluate.run(request(lines, Scenario.MULTI_TASK), settings).rows

    def of(learner: str, adaptation: str) -> list[dict[str, float | None]]:
        return [figures(r) for r in rows if (r["learner"], r["adaptation"]) == (learner, adaptation)]

    assert len(of("memory_bank", "own")) == 3
    assert of("memory_bank", "shared") == []
    assert of("in_context", "own") == of("in_context", "shared") == of("hypernetwork", "shared")
    assert of("hypernetwork", "own") != of("hypernetwork", "shared")


# --- incremental


class RecordingTrainer(FoldTrainer):
    """Keeps which lines each training was given."""

    seen: list[Sequence[ProductLine]]

    def train(self, fold: Fold, learners: Iterable[str], *, calibrate: bool = True) -> dict[str, Trained]:
        self.seen = [fold.train]
        return super().train(fold, learners, calibrate=calibrate)

    def go_on(
        self, name: str, learner: TaskLearner, lines: Sequence[ProductLine], *, steps: int, stage: int
    ) -> TaskLearner:
        self.seen.append(lines)
        return super().go_on(name, learner, lines, steps=steps, stage=stage)


@pytest.fixture(scope="module")
def staged(lines: Path, settings: Settings) -> tuple[list[Row], list[Sequence[ProductLine]], Fold]:
    job = request(lines, Scenario.INCREMENTAL)
    bench = Bench(job, settings, ignore_progress)
    trainer = RecordingTrainer(job, bench.eye().backbone.spec, bench.sources, ignore_progress)
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


# --- the command


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenario": "incremental", "learners": ("memory_bank", "transfer")}, "a trunk that other lines train"),
        ({"scenario": "multi-task", "learners": ("memory_bank",)}, "a theta to share"),
        (
            {"scenario": "incremental", "learners": ("maml",), "lines": None, "train_lines": "a", "test_lines": "b"},
            "each of them arrives",
        ),
    ],
)
def test_what_a_scenario_cannot_do_is_one_sentence(changes, words):
    with pytest.raises(ConfigError, match=words):
        EvaluateRequest(**({"lines": Path("x")} | changes))


def test_the_command_writes_a_scenario_and_shows_its_contrasts(lines, tmp_path, monkeypatch, capsys, settings):
    monkeypatch.setenv("LINEWISE_HOME", str(settings.home))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    files = {name: tmp_path / f"rows.{name}" for name in ("json", "csv", "html")}
    line = f"linewise evaluate --scenario domain-shift --shifts noise --shift-strength 0.5 --seeds 1 --size {SIZE}"
    arguments = [*line.split(), "--lines", str(lines), "--good", "2", "--defects", "0"]
    for name, path in files.items():
        arguments += [f"--{name}", str(path)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 0
    shown = capsys.readouterr().out
    assert "re-adapted - stale" in shown
    for setting in ("as taken, unshifted", "noise, stale", "noise, re-adapted"):
        assert f"2 good, 0 defects, {setting}: means" in shown
    rows = json.loads(files["json"].read_text())
    assert {(row["condition"], row["adaptation"]) for row in rows} == {
        ("as taken", "unshifted"),
        ("noise", "stale"),
        ("noise", "re-adapted"),
    }
    with files["csv"].open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["strength"] for row in read] == [str(row.get("strength", "")) for row in rows]
    page = files["html"].read_text(encoding="utf-8")
    assert "the same learner under two conditions" in page
    assert "shift strength" in page
