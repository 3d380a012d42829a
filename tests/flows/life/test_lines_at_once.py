"""Several lines at once, and one line never twice: runs for single lines, with real adaptations."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.bundles.registry import Registry
from deploy.results.schema import Verdict
from deploy.results.store import ResultStore
from deploy.results.verdict_files import verdict_on
from flows.adapt import job as adapt
from flows.adapt.job import AdaptResult
from flows.adapt.request import AdaptRequest
from flows.life import job
from flows.life.job import Outcome, TendedLine
from flows.life.line_notes import ask_holder, begin_to_look, end_of_look, is_asked_for, tending
from flows.life.request import TendRequest
from pipeline.errors import LineError
from pipeline.settings import load_settings
from tests.parts.spotted_line import SIZE, write_spotted_line

SLOW, OTHER = "caps", "corks"
_SECONDS = 120.0


@pytest.fixture
def plant(tmp_path: Path, home: Path) -> Path:
    for seed, line in enumerate((SLOW, OTHER)):
        write_spotted_line(tmp_path / "plant" / line, good=4, test_good=4, defects=2, seed=seed)
    return tmp_path / "plant"


class Begun:
    """Tends a line in a thread of its own; its adaptation begins, and goes on once it is let."""

    def __init__(self, plant: Path, line: str | None, **changes: object) -> None:
        self.adapting, self.goes_on = threading.Event(), threading.Event()
        self.adapted: list[str] = []
        self.lines: tuple[TendedLine, ...] = ()
        self._asked = request(plant, line, **changes)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.adapting.wait(_SECONDS)

    def _run(self) -> None:
        self.lines = job.tend_lines(self._asked, load_settings(), self._adapt).lines

    def _adapt(self, asked: AdaptRequest) -> AdaptResult:
        self.adapting.set()
        assert self.goes_on.wait(_SECONDS)
        self.adapted.append(asked.line)
        return adapt.run(asked, load_settings())

    def ended(self) -> tuple[TendedLine, ...]:
        self.goes_on.set()
        self._thread.join(_SECONDS)
        assert not self._thread.is_alive()
        return self.lines


def request(plant: Path, line: str | None, **changes: object) -> TendRequest:
    return TendRequest.asked(**{"folder": plant, "line": line, "size": SIZE, "quiet_seconds": 0, **changes})


def tend(plant: Path, line: str | None, **changes: object) -> tuple[TendedLine, ...]:
    return job.run(request(plant, line, **changes), load_settings()).lines


def test_a_line_does_not_wait_for_a_slow_one_and_the_same_line_is_left_to_whoever_is_at_it(
    plant: Path, home: Path
) -> None:
    slow = Begun(plant, SLOW)
    (other,) = tend(plant, OTHER)
    assert (other.outcome, Registry(home).lines()) == (Outcome.PROMOTED, [OTHER])
    for _ in range(2):
        (again,) = tend(plant, SLOW)
        assert (again.outcome, again.why) == (
            Outcome.BUSY,
            "another process adapts it, and looks at it again afterwards",
        )
    (ended,) = slow.ended()
    assert (ended.outcome, slow.adapted) == (Outcome.PROMOTED, [SLOW])
    assert [len(Registry(home).versions(line)) for line in (SLOW, OTHER)] == [1, 1], "and nothing twice"
    assert not is_asked_for(load_settings(), SLOW)


def test_all_new_lines_are_told_of_before_the_first_is_adapted_to(plant: Path) -> None:
    happened: list[str] = []

    def fails(asked: AdaptRequest) -> AdaptResult:
        happened.append(f"adapt to {asked.line}")
        raise LineError("images", "none", "add some")

    job.tend_lines(request(plant, None), load_settings(), fails, on_new=lambda line: happened.append(f"{line} is new"))
    assert happened == ["caps is new", "corks is new", "adapt to caps", "adapt to corks"]


def test_a_line_that_appears_during_a_run_is_told_of_once_before_the_next_one_is_adapted_to(plant: Path) -> None:
    """Whoever is told adapts to it: this run does not, nor does it tell again, nor does the next."""
    happened: list[str] = []
    corks = plant / OTHER
    corks.rename(plant.parent / OTHER)
    write_spotted_line(plant / "dials", good=4, seed=3)

    def fails(asked: AdaptRequest) -> AdaptResult:
        happened.append(f"adapt to {asked.line}")
        if asked.line == SLOW:
            (plant.parent / OTHER).rename(corks)
        raise LineError("images", "none", "add some")

    def run() -> list[str]:
        tended = job.tend_lines(
            request(plant, None), load_settings(), fails, on_new=lambda line: happened.append(f"{line} is new")
        )
        return [line.name for line in tended.lines]

    assert run() == [SLOW, "dials"]
    assert happened == ["caps is new", "dials is new", "adapt to caps", "corks is new", "adapt to dials"]
    assert run() == [SLOW, OTHER, "dials"]
    assert happened[5:] == ["adapt to corks"], "as nobody who was told did; the others failed, and nothing changed"


def test_a_command_that_tells_nobody_leaves_what_appears_during_it_new(plant: Path) -> None:
    def fails(_asked: AdaptRequest) -> AdaptResult:
        write_spotted_line(plant / "dials", good=4, seed=3)
        raise LineError("images", "none", "add some")

    job.tend_lines(request(plant, SLOW), load_settings(), fails)
    told: list[str] = []
    job.tend_lines(request(plant, None), load_settings(), fails, on_new=told.append)
    assert told == [OTHER, "dials"]


@pytest.mark.parametrize("holder", [SLOW, None], ids=["a run for the line", "a run for all lines"])
def test_what_came_while_a_line_was_adapted_to_is_learned_afterwards_by_the_same_run(
    plant: Path, home: Path, tmp_path: Path, holder: str | None
) -> None:
    settings = load_settings()
    slow = Begun(plant, holder, new_verdicts=2)
    shots = sorted((write_spotted_line(tmp_path / "shots", good=2, seed=5) / "train" / "good").iterdir())
    with ResultStore(settings.database) as store:
        store.add_verdicts(verdict_on(path, SLOW, Verdict.GOOD) for path in shots)
    assert tend(plant, SLOW, new_verdicts=2)[0].outcome is Outcome.BUSY
    assert tend(plant, None, new_verdicts=2)[0].why == "another process adapts it", "that one comes again by itself"
    told = [(look.outcome, look.why) for look in slow.ended() if look.name == SLOW]
    assert told == [(Outcome.PROMOTED, "new, with 4 good images"), (Outcome.PROMOTED, "2 new verdicts")]
    assert Registry(home).live(SLOW).manifest.support.good_by_verdict == 2
    assert len(Registry(home).versions(SLOW)) == 2


def test_who_is_asked_to_look_again_learns_that_the_line_drifted_and_is_asked_once(plant: Path) -> None:
    settings = load_settings()
    with tending(settings, SLOW):
        for drifted in (True, False):
            assert tend(plant, SLOW, drifted=drifted)[0].outcome is Outcome.BUSY
    assert is_asked_for(settings, SLOW)
    assert begin_to_look(settings, SLOW)
    assert not is_asked_for(settings, SLOW)
    end_of_look(settings, SLOW)
    ask_holder(settings, SLOW, drifted=False)
    assert not begin_to_look(settings, SLOW)


@pytest.mark.parametrize("asked", [True, False], ids=["it was asked meanwhile", "it was told so itself"])
def test_a_look_that_fails_leaves_to_the_next_that_the_line_drifted(plant: Path, asked: bool) -> None:
    settings = load_settings()
    settings.ensure_home()
    if asked:
        ask_holder(settings, SLOW, drifted=True)
    database = settings.home / "results.sqlite"
    database.write_bytes(b"no database " * 100)
    assert tend(plant, None, drifted=not asked)[0].outcome is Outcome.FAILED
    assert not is_asked_for(settings, SLOW), "nobody tries again at once"
    database.unlink()
    assert begin_to_look(settings, SLOW)
    assert tend(plant, SLOW, least_good=50)[0].outcome is Outcome.WAITING
    assert not begin_to_look(settings, SLOW)


def test_many_runs_for_one_line_at_once_adapt_to_it_once(plant: Path, home: Path) -> None:
    adapted: list[str] = []

    def counted(asked: AdaptRequest) -> AdaptResult:
        adapted.append(asked.line)
        return adapt.run(asked, load_settings())

    def run() -> list[Outcome]:
        return [one.outcome for one in job.tend_lines(request(plant, SLOW), load_settings(), counted).lines]

    with ThreadPoolExecutor(6) as pool:
        outcomes = [future.result() for future in [pool.submit(run) for _ in range(6)]]
    assert outcomes.count([Outcome.PROMOTED]) == 1
    assert {outcome for one in outcomes for outcome in one} <= {Outcome.PROMOTED, Outcome.BUSY, Outcome.WAITING}
    assert (adapted, len(Registry(home).versions(SLOW))) == ([SLOW], 1)
    assert not is_asked_for(load_settings(), SLOW)


def test_a_run_that_is_killed_frees_its_line_and_the_next_one_takes_up_what_it_was_asked(
    plant: Path, home: Path
) -> None:
    """The schedule's run comes by itself, and finds what the dead one left."""
    code = (
        "import sys, time; from flows.life.line_notes import tending; from pipeline.settings import load_settings\n"
        "with tending(load_settings(), sys.argv[1]) as ours: print(ours, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, SLOW], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "True\n"
            assert tend(plant, SLOW)[0].outcome is Outcome.BUSY
        finally:
            holder.kill()
    assert is_asked_for(load_settings(), SLOW)
    by_name = {one.name: one.outcome for one in tend(plant, None)}
    assert by_name == {SLOW: Outcome.PROMOTED, OTHER: Outcome.PROMOTED}
    assert not is_asked_for(load_settings(), SLOW)
