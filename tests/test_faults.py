"""The short form of the faults, and what the harness and the soak must see themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StorageError
from tests.faults import activities
from tests.faults.__main__ import try_fault
from tests.faults.children import Child, say, words
from tests.faults.fault import SkippedError, Trial
from tests.faults.faults import FAULTS
from tests.faults.scene import Stage
from tests.soak.trend import Bound, trend_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # of which most goes into the stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LINEWISE_")]:
            patch.delenv(name)
        yield Stage(tmp_path_factory.mktemp("faults"), images=16)


@pytest.mark.parametrize("name", ["kill scoring", "kill export", "kill promotion", "kill migration", "two scorings"])
def test_a_fault_is_held(name: str, stage: Stage) -> None:
    outcome = try_fault(name, stage, kills=2, seconds=0.5, rounds=1, seed=0)
    assert outcome.verdict == "held", outcome.what
    assert name == "two scorings" or outcome.counted["kills"] == 2


def test_a_harness_sees_what_is_lost_and_tells_what_it_cannot_try(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(trial: Trial) -> None:
        scene = trial.stage.scene()
        scene.child(activities.score, scene.images).result()
        scene.scores["a content that nobody scored"] = 1.0
        scene.all_scored()

    def skip(_trial: Trial) -> None:
        raise SkippedError("no disk to fill")

    monkeypatch.setitem(FAULTS, "lose", lose)
    monkeypatch.setitem(FAULTS, "skip", skip)
    lost, skipped = (try_fault(name, stage, kills=1, seconds=0, rounds=1, seed=0) for name in ("lose", "skip"))
    assert (lost.verdict, lost.what) == ("found", "16 of 17 images have a score")
    assert (skipped.verdict, skipped.what) == ("skipped", "no disk to fill")


def end_as(how: str) -> str:
    say("begun")
    if how == "refused":
        raise StorageError("room", "none", "make some")
    if how == "broke":
        raise ValueError("our own mistake")
    if how == "killed":
        os.abort()
    return "its result"


def test_a_child_tells_how_it_ended(tmp_path: Path) -> None:
    for how, told in (
        ("done", "its result"),
        ("refused", "expected room"),
        ("broke", "our own mistake"),
        ("killed", ""),
    ):
        ended = Child(end_as, how, said=tmp_path / "said").ended()
        assert ended is not None
        assert ended.how == how
        assert told in ended.what
    assert words(tmp_path / "said") == ["begun"] * 4


def test_growth_is_told_from_noise() -> None:
    hours = np.linspace(0, 2, 60)
    noise = np.random.default_rng(0).normal(0, 5, 60)
    flat, growing = trend_of(hours, 500 + noise), trend_of(hours, 500 + 30 * hours + noise)
    assert flat.low < 0 < flat.high
    assert not flat.grows_beyond(Bound(16, 8))
    assert growing.low < 30 < growing.high
    assert growing.grows_beyond(Bound(16, 8))
    assert not growing.grows_beyond(Bound(16, 100)), "not so much at all in two hours"
    assert trend_of([0.0, 1.0, 2.0], [5.0, 5.0, 5.0])[:4] == (5.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="three figures or more"):
        trend_of([0.0, 1.0], [1.0, 2.0])
