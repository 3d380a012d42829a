"""What was on disk before the house was rebuilt opens as it did: see `tests/of_before/README.md`."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import REPOSITORY
from tests.flows.command import Command, sentence

ARCHIVE = REPOSITORY / "tests" / "of_before" / "of_before.tar.xz"
MADE_BY = "0.1.0"
LINE = "plant/washer"
IMAGES = Path("lines/synthetic_washer_001")
LIVE, BEFORE, LATEST = "20261129-101147", "20261129-101133", "20261129-101200"
INT8 = f"{BEFORE}-int8"
NETWORK = ("--backbone", "test_efficientnet", "--size", "64")
TRAINING = (*NETWORK, "--learner", "in_context", "--iterations", "120", "--defects", "2")
CHECKPOINT = 100
TIMES = {"adapt_seconds", "score_ms", "meta_train_seconds"}
CLOSE = 1e-5


@pytest.fixture(scope="session")
def lines_of_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lines that everything was made from, drawn anew; to be read only."""
    from pipeline.synthetic.lines import write_lines

    folder = tmp_path_factory.mktemp("of_before") / "lines"
    write_lines(folder, (1, 2, 3), good=6, test_good=10, defects=8, size=64)
    return folder


@pytest.fixture
def expected(home: Path, tmp_path: Path, lines_of_before: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was recorded; the home of before is in use, and its lines lie where they lay: beside it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "lines").symlink_to(lines_of_before)
    monkeypatch.chdir(tmp_path)  # runs name their lines as they were named to them, relative to this folder
    monkeypatch.setenv("LINEWISE_DEVICE", "cpu")
    return json.loads((tmp_path / "expected.json").read_text())


def done(answer: tuple[int, str, str]) -> str:
    """Standard output of a command that worked."""
    code, shown, error = answer
    assert code == 0, sentence(error)
    return shown


def scored(linewise: Command, *options: str | Path) -> dict[str, Any]:
    """Score the line's test images; what was written about it."""
    written = Path("scores.json")
    done(linewise("score", LINE, IMAGES / "test", "--no-overlays", "--json", written, *options))
    return json.loads(written.read_text())


def check_scores(report: dict[str, Any], recorded: dict[str, list[Any]], close: float = CLOSE) -> None:
    found = {row["path"]: row for row in report["rows"]}
    assert {path: row["score"] for path, row in found.items()} == pytest.approx(
        {path: score for path, (score, _) in recorded.items()}, abs=close
    )
    if close == CLOSE:
        assert {path: row["decision"] for path, row in found.items()} == {p: said for p, (_, said) in recorded.items()}


def versions(linewise: Command) -> list[dict[str, Any]]:
    return json.loads(done(linewise("registry", "list", "--json", "-")))


def live(linewise: Command) -> str:
    (version,) = [row["version"] for row in versions(linewise) if row["live"]]
    return version


def test_the_registry_lists_its_versions(linewise: Command, expected: dict[str, Any]) -> None:
    listed = versions(linewise)
    assert [row["problem"] for row in listed] == [None] * 4
    assert [{key: row[key] for key in before} for row, before in zip(listed, expected["versions"], strict=True)] == (
        expected["versions"]
    )
    assert [(row["version"], row["live"]) for row in listed] == [
        (BEFORE, False),
        (INT8, False),
        (LIVE, True),
        (LATEST, False),
    ]


def test_the_live_bundle_scores_what_its_store_lacks_as_it_did(linewise: Command, expected: dict[str, Any]) -> None:
    report = scored(linewise)
    check_scores(report, expected["scores"][LIVE])
    assert (report["version"], report["images"], report["scored_before"]) == (LIVE, 18, 10)


@pytest.mark.parametrize("version", [BEFORE, LIVE, LATEST, INT8])
def test_every_version_scores_anew_as_it_did(
    version: str, linewise: Command, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEWISE_DATABASE_URL", f"sqlite:///{tmp_path / 'new.sqlite'}")
    report = scored(linewise, "--version", version)
    assert report["scored_before"] == 0
    # processors without VNNI round int8 products otherwise
    check_scores(report, expected["scores"][version], close=0.1 if version == INT8 else CLOSE)


def test_a_line_rolls_back_to_what_was_live_before(linewise: Command, expected: dict[str, Any]) -> None:
    done(linewise("registry", "roll-back", LINE))
    assert live(linewise) == BEFORE
    report = scored(linewise)
    check_scores(report, expected["scores"][BEFORE])
    assert report["scored_before"] == 10
    done(linewise("registry", "promote", LINE, LATEST))
    assert live(linewise) == LATEST


def test_a_pack_is_taken_into_another_registry(
    linewise: Command, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_scores(scored(linewise, "--bundle", "pack"), expected["scores"][BEFORE])
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "elsewhere"))
    done(linewise("registry", "import", "pack"))
    assert live(linewise) == BEFORE
    report = scored(linewise)
    check_scores(report, expected["scores"][BEFORE])
    assert report["scored_before"] == 0


@pytest.mark.slow
def test_a_line_adapts_with_the_meta_model_as_it_did(linewise: Command, expected: dict[str, Any]) -> None:
    learned = ("--learner", "in_context", "--meta-model", "home/runs/whole/meta_model")
    done(linewise("adapt", LINE, IMAGES, *NETWORK, *learned, "--good", "2", "--defects", "2"))
    assert live(linewise) not in {LIVE, BEFORE, LATEST, INT8}
    report = scored(linewise)
    check_scores(report, expected["scores"][LIVE])  # made of the same images with the same meta-model
    assert report["scored_before"] == 0


@pytest.mark.slow
def test_an_interrupted_meta_training_goes_on_from_its_checkpoint(
    linewise: Command, expected: dict[str, Any], home: Path
) -> None:
    run = home / "runs" / "in_context-seed0"
    assert len((run / "losses.jsonl").read_text().splitlines()) == CHECKPOINT
    (run / "losses.jsonl").unlink()
    done(linewise("meta-train", "lines", *TRAINING, "--good", "2", "--resume"))
    losses = [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]
    assert losses[:CHECKPOINT] == expected["losses"][:CHECKPOINT], "not trained again"
    assert [step["loss"] for step in losses] == pytest.approx([step["loss"] for step in expected["losses"]], rel=1e-4)
    made, whole = (json.loads((home / "runs" / of / "meta_model" / "meta.json").read_text()) for of in (run, "whole"))
    told = ("learner", "lines", "outer_steps", "spec")  # pooled steps are since told as taken: all, of in_context
    assert {key: made[key] for key in told} == {key: whole[key] for key in told}


def test_a_meta_training_goes_on_with_its_own_settings_alone(
    linewise: Command, expected: dict[str, Any], home: Path
) -> None:
    code, _, error = linewise("meta-train", "lines", *TRAINING, "--good", "3", "--resume")
    assert code == 2
    assert sentence(error).startswith(f"linewise: expected the request that {home / 'runs/in_context-seed0'} was")


def test_an_interrupted_evaluation_is_begun_anew_and_finds_the_same(
    linewise: Command, expected: dict[str, Any], home: Path
) -> None:
    """An evaluation goes on in the version that it was begun in: steps of meta-training are counted otherwise since."""
    (run,) = (home / "runs").glob("evaluation-*")
    options = ("--learners", "memory_bank", "--good", "2", "--defects", "0,2", "--seeds", "1")
    done(linewise("evaluate", *NETWORK, "--lines", "lines", *options, "--json", "rows.json"))
    assert run.exists()
    rows = json.loads(Path("rows.json").read_text())
    assert len(rows) == len(expected["evaluation"])
    for row, recorded in zip(rows, expected["evaluation"], strict=True):
        for key in recorded.keys() - TIMES:
            assert row[key] == pytest.approx(recorded[key], abs=CLOSE, nan_ok=True), key
