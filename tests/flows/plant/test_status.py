"""`linewise status` and `down` where no server is asked; `tests/end_to_end/test_prefect_up.py` has one that is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.results.store import ResultStore
from flows.plant import line_activity, status
from flows.plant.started_parts import Part, PlantFolder, Started
from tests.deploy.results.result_rows import begin, scored
from tests.parts.plant import write_plant


def score(home: Path, line: str, *, at: datetime) -> None:
    """Put one scored image of a line into the result store."""
    bundle = write_plant(home, line=line).live(line)
    with ResultStore(home / "results.sqlite") as store:
        store.add([scored(begin(store, bundle), bundle, 1)._replace(scored_at=at)])


def died(home: Path, part: Part) -> Started:
    folder = PlantFolder(home)
    folder.path.mkdir(parents=True, exist_ok=True)
    started = Started(
        pid=1,
        began="before that",
        since=datetime.now(UTC),
        api="http://127.0.0.1:9/api",
        log=folder.log(part),
        linewise="1.2.3",
    )
    folder.note(part, started)
    return started


def test_without_a_server_it_tells_the_lines(home, linewise):
    score(home, "caps", at=datetime(2026, 3, 4, 5, 6, tzinfo=UTC))
    code, out, err = linewise("status", "--json", "-")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["healthy"]
    assert told["server"] is told["worker"] is told["served"] is told["api"]["address"] is None
    (line,) = told["lines"]
    assert (line["line"], line["version"], line["last_scored"]) == ("caps", "v1", "2026-03-04T05:06:00+00:00")
    code, out, _ = linewise("status")
    assert code == 0
    assert "No server is in use: `linewise up` starts one." in out
    assert "Nothing is wrong." in out


def test_it_makes_nothing(home, linewise):
    code, out, _ = linewise("status")
    assert code == 0
    assert "No line is registered." in out
    assert not home.exists()
    assert linewise("down")[:2] == (0, "Nothing runs that `linewise up` started.\n")
    assert not home.exists()


def test_a_silent_line_is_wrong_where_a_time_is_stated(home, linewise):
    score(home, "caps", at=datetime.now(UTC) - timedelta(hours=5))
    assert linewise("status", "--silent-after", "6")[0] == 0
    code, out, _ = linewise("status", "--silent-after", "4")
    assert code == 1
    assert "No image of caps was scored for 5.0 hours: see whether its images come" in out


def test_a_line_that_never_scored_is_silent_since_its_bundle_was_made(home, linewise):
    write_plant(home, line="caps")
    code, out, _ = linewise("status", "--silent-after", "4", "--json", "-")
    assert code == 1
    (problem,) = json.loads(out)["problems"]
    assert problem.startswith("No image of caps was scored for ")
    assert not (home / "results.sqlite").exists()


def test_a_live_bundle_that_cannot_be_read_is_wrong(home, linewise):
    registry = write_plant(home, line="caps")
    (registry.live("caps").path / "manifest.json").write_text("{}")
    code, out, _ = linewise("status", "--json", "-")
    assert code == 1
    (problem,) = json.loads(out)["problems"]
    assert problem.startswith("The live bundle of caps cannot score: expected ")


def test_what_died_is_named(home, linewise):
    server, worker = died(home, Part.SERVER), died(home, Part.WORKER)
    code, out, _ = linewise("status", "--json", "-")
    assert code == 1
    told = json.loads(out)
    assert not told["server"]["runs"]
    assert told["problems"][:2] == [
        f"The server (process 1) has ended although nobody stopped it: `linewise up` starts it again, {server.log} "
        "may say why",
        f"The worker (process 1) has ended although nobody stopped it: `linewise up` starts it again, {worker.log} "
        "may say why",
    ]
    assert told["problems"][2].startswith("expected a Prefect API that answers at http://127.0.0.1:9/api, got ")


def test_down_forgets_what_died_and_leaves_alone_who_has_its_pid(home, linewise):
    died(home, Part.SERVER)
    died(home, Part.WORKER)
    assert linewise("down")[:2] == (0, "Nothing runs that `linewise up` started.\n")
    assert linewise("status")[0] == 0


def test_a_result_store_that_cannot_be_read_is_wrong(home, linewise):
    write_plant(home, line="caps")
    (home / "results.sqlite").write_bytes(b"no database" * 100)
    code, out, _ = linewise("status")
    assert code == 1
    assert "a result database that can be used at" in out


@pytest.mark.parametrize(("hours", "told"), [(1.5, "1.5 hours"), (47.9, "47.9 hours"), (60, "2.5 days")])
def test_a_silence_is_told_in_hours_or_days(hours, told):
    assert status._hours_since(datetime.now(UTC) - timedelta(hours=hours)) == told


def test_a_line_without_a_live_version_is_never_silent():
    line = line_activity.LineActivity(line="caps", version=None, made_at=None, last_scored=datetime.now(UTC))
    assert line.last_sign is None
