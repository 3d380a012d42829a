"""Progress: the bars of the command, and the pace they are told."""

import shutil
from pathlib import Path

import pytest

from flows.meta_train.outer_loop import split_lines
from flows.meta_train.request import MetaTrainRequest
from flows.progress import KeptRemarks, Pace, Progress, ignore_progress
from flows.terminal import console


def test_progress_bars_show_every_stage(capsys):
    with console.progress_bars() as on_progress:
        on_progress(Progress(stage="read", done=1, total=4))
        on_progress(Progress(stage="read", done=4, total=4))
        on_progress(Progress(stage="train", done=7, figures={"loss": 0.25}, seconds_left=40))
        for _ in range(2):
            on_progress(Progress(stage="train", done=8, remark="camera 7 broke off [once]"))
        on_progress(Progress(stage="train", done=9, figures={"loss": 0.25}, seconds_left=11_100))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "read" in shown.err
    assert "4/4" in shown.err
    assert "loss 0.25" in shown.err
    assert "3 h 05 min left" in shown.err
    assert shown.err.count("camera 7 broke off [once]") == 1


def test_the_pace_is_that_of_the_last_half_minute():
    pace = Pace()
    assert pace.tell(0.0, 0) == 0
    assert pace.tell(1.0, 1000) == 1000  # files that were scored before
    for second in range(2, 60):
        rate = pace.tell(float(second), 1000 + 10 * second)
    assert rate == pytest.approx(10)
    assert pace.tell(59.0, 1590) == pytest.approx(10), "the same moment again"
    assert pace.tell(100.0, 1590) == 0


def test_remarks_are_handed_on_and_kept_once() -> None:
    told: list[Progress] = []
    kept = KeptRemarks(told.append)
    for remark in ("a", "", "b", "a"):
        kept(Progress(stage="x", done=0, remark=remark))
    assert kept.remarks == ("a", "b")
    assert [progress.remark for progress in told] == ["a", "", "b", "a"]


def test_meta_training_leaves_out_and_remarks_on_what_evaluation_does(lines: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(lines / "one", tmp_path / "lines")
    first, second = sorted(folder.iterdir())
    broken = next((first / "train" / "good").iterdir())
    broken.write_bytes(b"")
    kept = KeptRemarks(ignore_progress)
    train, held_out = split_lines(MetaTrainRequest(lines=folder, validation_lines=second), kept)
    assert broken not in [record.path for record in train[0].train_good]
    assert [line.name for line in held_out] == [second.name]
    (remark,) = kept.remarks
    assert remark.startswith(
        f"{first.name}: 1 image cannot be used: train/good/{broken.name} (expected an image, got an"
    )
