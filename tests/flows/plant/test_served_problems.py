"""What of the server's answers is wrong, in a sentence each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from flows.plant.served import Served, ServedRun, ServedWorker
from flows.plant.started_parts import Part, Started
from flows.plant.status import PartState, _served_problems

THEN = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
WELL = Served(
    version="3.9.1",
    pool_paused=False,
    workers=(ServedWorker(name="ours", online=True, last_heartbeat=THEN),),
    deployments=(),
    running=(),
    pending=(),
    waiting=(),
    late=(),
    failed=(),
    unmended=(),
)
OURS = Started(
    pid=7, began="then", since=THEN, api="http://127.0.0.1:9/api", name="ours", log=Path("/w.log"), linewise="1.2.3"
)


def run(name: str, state: str, message: str = "") -> ServedRun:
    return ServedRun(id="1", name=name, state=state, since=THEN, message=message)


def problems(served: Served, *, ours: bool | None = True) -> list[str]:
    """With the plant's own worker running (or not, or none of its own)."""
    own = () if ours is None else (PartState(part=Part.WORKER, started=OURS, runs=ours),)
    return _served_problems(served, own)


@pytest.mark.parametrize("ours", [True, False, None])
def test_a_plant_that_does_well_has_none(ours):
    assert problems(WELL, ours=ours) == []


def test_a_worker_that_the_server_does_not_hear_of():
    deaf = replace(WELL, workers=(replace(WELL.workers[0], online=False),))
    (sentence,) = problems(deaf)
    assert sentence == "The worker (process 7) runs, and the server hears nothing of it: look into /w.log"
    (sentence,) = problems(deaf, ours=None)
    assert sentence == "No worker is online, so no run begins: run `linewise up`, or start a worker"
    assert problems(deaf, ours=False) == [], "that it has ended is told already"


def test_a_pool_that_is_paused_or_not_there():
    (sentence,) = problems(replace(WELL, pool_paused=True))
    assert sentence.startswith("The work pool is paused, so no run begins")
    (sentence,) = problems(replace(WELL, pool_paused=None, workers=()), ours=None)
    assert sentence.startswith("The server has no work pool of Linewise")


def test_late_runs_are_one_sentence():
    (sentence,) = problems(replace(WELL, late=(run("score caps", "Late"), run("score pens", "Late"))))
    assert sentence.startswith("2 runs are late, the first 'score caps', since 2026-03-0")
    assert sentence.endswith(": no worker takes them")


def test_failures_of_one_name_are_one_sentence():
    failed = (run("score caps", "Failed", "one"), run("adapt caps", "Crashed"), run("score caps", "Failed", "two"))
    scoring, adapting = problems(replace(WELL, failed=failed, unmended=failed))
    assert scoring.startswith("The run 'score caps' ended as Failed at 2026-03-0")
    assert scoring.endswith(", the last of 2 in 24 hours: two")
    assert adapting.endswith(": no message")
    assert problems(replace(WELL, failed=failed)) == [], "mended since"
