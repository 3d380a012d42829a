"""Housekeeping in a home that scored: what it tells, what goes, what stays."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from deploy.results.schema import ResultRow
from deploy.results.store import ResultStore
from flows.housekeeping import job
from flows.housekeeping.job import Kind
from flows.housekeeping.request import HousekeepingRequest
from flows.score import job as score_job
from flows.threshold import job as threshold_job
from flows.threshold.request import ThresholdRequest
from pipeline.settings import load_settings
from tests.flows.adapted_home import LINE, score_request
from tests.flows.command import Command
from tests.parts.plant import tree


def age(home: Path, days: float) -> None:
    """Let all that was scored until now be as old."""
    then = datetime.now(UTC) - timedelta(days=days)
    with ResultStore(load_settings().database) as store, store.writing() as connection:
        connection.execute(update(ResultRow).values(scored_at=then))
    for path in (home / "overlays").rglob("*.jpg"):
        os.utime(path, (then.timestamp(), then.timestamp()))
    for folder in (home / "reports").glob("*/*"):
        folder.rename(folder.with_name(f"{then:%Y%m%d-%H%M%S-%f}"))


def housekeeping(**asked: object) -> dict[Kind, job.Removed]:
    result = job.run(HousekeepingRequest.asked(**asked), load_settings())
    return {removed.kind: removed for removed in result.removed}


@pytest.fixture
def old_home(adapted_home, line) -> Path:
    """A home whose rows, pictures and reports are 100 days old; every image is flagged."""
    threshold_job.run(ThresholdRequest(line=LINE, reject=1e-9, why="to have pictures"), load_settings())
    score_job.run(score_request(line), load_settings())
    age(adapted_home, 100)
    (adapted_home / "plant").mkdir()
    log = adapted_home / "plant" / "server.log.before"
    log.write_text("said\n")
    os.utime(log, (0, 0))
    return adapted_home


def rows() -> list[ResultRow]:
    with ResultStore(load_settings().database) as store:
        return store.query(line=LINE)


def pictures(home: Path) -> set[Path]:
    return set((home / "overlays").rglob("*.jpg"))


def test_a_dry_run_tells_what_the_real_one_does_and_touches_nothing(old_home) -> None:
    before, flagged = tree(old_home / "overlays") | tree(old_home / "reports"), len(pictures(old_home))
    assert flagged
    told = housekeeping(rows_days=50, dry_run=True)
    assert tree(old_home / "overlays") | tree(old_home / "reports") == before
    assert len(rows()) == 10
    assert told[Kind.ROWS].count == 10
    assert told[Kind.ROWS].size_bytes > 0
    assert told[Kind.PICTURES].count == flagged
    assert told[Kind.PICTURES].size_bytes == sum(path.stat().st_size for path in pictures(old_home))
    assert told[Kind.REPORTS].count == told[Kind.LOGS].count == 1
    assert housekeeping(rows_days=50) == told
    assert rows() == []
    assert not pictures(old_home)
    assert not list((old_home / "reports").glob("*/*"))
    assert {kind: removed.count for kind, removed in housekeeping(rows_days=50).items()} == dict.fromkeys(Kind, 0)


def test_by_default_rows_outlive_their_pictures(old_home) -> None:
    told = housekeeping()
    assert told[Kind.ROWS].count == 0
    assert told[Kind.PICTURES].count
    assert len(rows()) == 10
    assert all(row.overlay_path is None for row in rows())
    assert not pictures(old_home)


def test_what_is_young_stays(adapted_home, line) -> None:
    score_job.run(score_request(line), load_settings())
    before = tree(adapted_home / "overlays") | tree(adapted_home / "reports")
    assert {removed.count for removed in housekeeping().values()} == {0}
    assert tree(adapted_home / "overlays") | tree(adapted_home / "reports") == before
    assert all(row.overlay_path and Path(row.overlay_path).is_file() for row in rows() if row.decision != "PASS")


def test_scoring_goes_on_after_rows_went(old_home, line) -> None:
    housekeeping(rows_days=50)
    assert score_job.run(score_request(line), load_settings()).summary.counts.scored == 10
    assert pictures(old_home)


def test_the_command_tells_it(linewise: Command, old_home) -> None:
    code, out, _ = linewise("housekeeping", "--dry-run")
    assert code == 0
    assert out.startswith("Would go, in ")
    assert "0 rows\n" in out
    assert " of the disk\n" in out
    assert "Prefect runs are left alone: no Prefect server is named, or it does not answer." in out
    assert linewise("housekeeping", "--rows-days", "50")[1].startswith("Gone, in ")
    assert linewise("housekeeping", "--bundles", "0")[0] == 2
