"""Any scenario as a user asks for it: what is refused, what is written and shown."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from flows.asking.learner_names import UNTRAINED
from flows.evaluate import job as evaluate
from flows.evaluate.request import EvaluateRequest, Scenario
from model_zoo.learner_table import LEARNERS
from pipeline.errors import ConfigError
from tests.flows.evaluate.scenarios.evaluated import SIZE


def test_the_request_knows_which_learners_other_lines_do_not_train():
    assert {name.value for name in UNTRAINED} == {name for name, entry in LEARNERS.items() if not entry.is_meta}
    assert set(evaluate.SCENARIOS) == set(Scenario)


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


def test_the_command_writes_a_scenario_and_shows_its_contrasts(linewise, lines, tmp_path, monkeypatch, settings):
    monkeypatch.setenv("LINEWISE_HOME", str(settings.home))  # its features are those of the other tests
    files = {name: tmp_path / f"rows.{name}" for name in ("json", "csv", "html")}
    options = (
        f"--scenario domain-shift --shifts noise --shift-strength 0.5 --seeds 1 --size {SIZE} --good 2 --defects 0"
    )
    outputs = [argument for name, path in files.items() for argument in (f"--{name}", path)]
    code, shown, error = linewise("evaluate", *options.split(), "--lines", lines, *outputs)
    assert code == 0, error
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


def test_what_an_evaluation_leaves_out_is_told_in_the_words_of_lines_check(linewise, lines, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(next(iter(sorted((lines / "one").iterdir()))), tmp_path / "lines" / name)
    line = tmp_path / "lines" / "a"
    known, *_, broken = sorted((line / "train" / "good").iterdir())
    shutil.copy(known, line / "test" / "good" / "known.png")
    broken.write_bytes(b"")
    options = f"--seeds 1 --size {SIZE} --good 2 --defects 1 --lines"
    code, _, error = linewise("evaluate", *options.split(), line.parent, "--json", tmp_path / "rows.json")
    assert code == 0, error
    _, checked, _ = linewise("lines", "check", line)
    for words in (
        f"1 image cannot be used: train/good/{broken.name} (expected an image, got an empty file: copy the file again",
        f"which counts in training only: train/good/{known.name}, test/good/known.png.",
    ):
        assert error.count(words) == 1, error
        assert words in checked
    assert all(f"\n{name}" not in error for name in ("b: ", "Traceback"))
