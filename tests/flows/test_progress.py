"""Progress: the bars of the command, and the pace they are told."""

import pytest

from flows.progress import Pace, Progress
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
