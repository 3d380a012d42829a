"""Old rows go with their regions, pictures after the rows that name them, and nothing that has a verdict."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from deploy.bundles.bundle import Bundle
from deploy.bundles.registry import Registry
from deploy.results.old_pictures import old_pictures
from deploy.results.records import NewVerdict
from deploy.results.retention import (
    BATCH_ROWS,
    bundles_in_use,
    bytes_of_rows,
    count_old_rows,
    drop_old_rows,
    forget_old_pictures,
)
from deploy.results.schema import RegionRow, ResultRow, RunRow, RunStatus, SkipRow, Verdict
from deploy.results.store import ResultStore
from tests.checkout import REPOSITORY
from tests.deploy.results.result_rows import REGION, begin, scored, sha256, unreadable
from tests.parts.plant import bundle_files, make_draft

LINE = "mvtec/pill"
NOW = datetime.now(UTC)
OLD, CUTOFF = NOW - timedelta(days=500), NOW - timedelta(days=400)


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    return Registry(tmp_path / "home").add(make_draft(), bundle_files())


def add_rows(store: ResultStore, bundle: Bundle, numbers: range, at: datetime, *, pictures: Path | None = None) -> int:
    run = begin(store, bundle)
    rows = (
        scored(run, bundle, n)._replace(
            scored_at=at, regions=(REGION,), overlay_path=str(pictures / f"{sha256(n)}.jpg") if pictures else None
        )
        for n in numbers
    )
    store.add(rows)
    store.finish_run(run, RunStatus.FINISHED, scored=1, skipped=0, flagged=0, unreadable=0, seconds=1.0)
    return run


def say(store: ResultStore, number: int) -> None:
    store.add_verdicts([NewVerdict(LINE, f"/images/{number}.png", sha256(number), Verdict.GOOD)])


def contents(store: ResultStore) -> set[int]:
    return {int(row.image_sha256 or "-1", 16) for row in store.query(limit=None)}


def count(store: ResultStore, table: type[ResultRow] | type[RegionRow] | type[RunRow] | type[SkipRow]) -> int:
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def test_old_rows_go_with_their_regions_and_runs_but_not_those_with_a_verdict(store, bundle) -> None:
    old = 2 * BATCH_ROWS + 7
    add_rows(store, bundle, range(old), OLD)
    emptied = begin(store, bundle)
    store.add([unreadable(emptied, bundle, "/images/gone.png", number=None)._replace(scored_at=OLD)])
    new = add_rows(store, bundle, range(old, old + 20), NOW)
    for number in (3, old - 1, old + 1):
        say(store, number)
    with store.writing() as connection:
        connection.execute(RunRow.__table__.update().where(RunRow.id != new).values(started_at=OLD, status="finished"))
    assert count_old_rows(store, CUTOFF) == old - 2 + 1
    assert drop_old_rows(store, CUTOFF) == old - 2 + 1
    stay = {3, old - 1, *range(old, old + 20)}
    assert contents(store) == stay
    assert count(store, RegionRow) == len(stay)
    assert all(store.regions(bundle.id, sha256(n)) == (REGION,) for n in stay)
    assert count(store, RunRow) == 2, "the one without rows is gone"
    assert drop_old_rows(store, CUTOFF) == count_old_rows(store, CUTOFF) == 0


def test_a_question_that_was_skipped_keeps_nothing(store, bundle) -> None:
    add_rows(store, bundle, range(2), OLD)
    (row, _) = store.query(limit=None)
    with store.writing_session() as session:
        session.add(SkipRow(line=LINE, result_id=row.id, by="Ada", skipped_at=OLD))
    assert drop_old_rows(store, CUTOFF) == 2
    assert count(store, SkipRow) == 0


def test_another_lines_verdict_keeps_nothing(store, bundle) -> None:
    add_rows(store, bundle, range(2), OLD)
    store.add_verdicts([NewVerdict("nuts", "/images/0.png", sha256(0), Verdict.GOOD)])
    assert drop_old_rows(store, CUTOFF) == 2


def test_a_verdict_that_comes_meanwhile_keeps_its_row(store, bundle) -> None:
    """Rows are found before the transaction that drops them."""
    add_rows(store, bundle, range(3 * BATCH_ROWS), OLD)
    last = 3 * BATCH_ROWS - 1
    saying = threading.Timer(0.05, say, (store, last))
    saying.start()
    drop_old_rows(store, CUTOFF)
    saying.join()
    assert contents(store) <= {last}


def test_rows_let_go_of_pictures_before_their_files_go(store, bundle, tmp_path) -> None:
    folder = tmp_path / "overlays" / "pill" / bundle.id[:16]
    folder.mkdir(parents=True)
    for at, numbers in ((OLD, range(6)), (NOW, range(6, 8))):
        add_rows(store, bundle, numbers, at, pictures=folder)
        for number in numbers:
            path = folder / f"{sha256(number)}.jpg"
            path.write_bytes(b"12345")
            os.utime(path, (at.timestamp(), at.timestamp()))
    say(store, 2)
    twin = Registry(tmp_path / "home").add(make_draft(version="v2", reject=3.0), bundle_files())
    add_rows(store, twin, range(3, 5), NOW, pictures=folder.with_name(twin.id[:16]))  # with pictures of its own
    (folder / "note.txt").write_text("a person's")
    os.utime(folder / "note.txt", (OLD.timestamp(), OLD.timestamp()))

    found = dict(old_pictures(store, tmp_path / "overlays", CUTOFF))
    assert set(found) == {folder / f"{sha256(n)}.jpg" for n in (0, 1, 3, 4, 5)}, "a dry run's answer"
    assert set(found.values()) == {5}
    forget_old_pictures(store, CUTOFF)
    assert dict(old_pictures(store, tmp_path / "overlays", CUTOFF)) == found, "and the real run's"
    for path in found:
        path.unlink()
    named = {Path(row.overlay_path) for row in store.query(bundle_id=bundle.id, limit=None) if row.overlay_path}
    assert len(named) == 3
    assert all(path.is_file() for path in named)
    assert dict(old_pictures(store, tmp_path / "nowhere", CUTOFF)) == {}


def test_bundles_whose_images_have_verdicts_or_that_score_now_are_in_use(store, bundle, tmp_path) -> None:
    registry = Registry(tmp_path / "home")
    running = registry.add(make_draft(version="v2", reject=3.0), bundle_files())
    idle = registry.add(make_draft(version="v3", reject=4.0), bundle_files())
    add_rows(store, bundle, range(1), OLD)
    add_rows(store, idle, range(1, 2), OLD)
    begin(store, running)
    say(store, 0)
    assert bundles_in_use(store, LINE) == {bundle.id, running.id}


def test_the_room_of_rows_is_told_for_sqlite(tmp_path, bundle) -> None:
    with ResultStore(tmp_path / "results.sqlite") as store:
        assert bytes_of_rows(store, 0) == 0
        add_rows(store, bundle, range(2000), OLD)
        with store.reading() as connection:  # the file itself lags behind its log
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        assert bytes_of_rows(store, 1000) == pages * 4096 // 2


KILLED = """
import sys
from datetime import datetime
from deploy.results.retention import drop_old_rows
from deploy.results.store import ResultStore
print("dropping", flush=True)
drop_old_rows(ResultStore(sys.argv[1]), datetime.fromisoformat(sys.argv[2]))
"""


def test_a_kill_leaves_whole_rows_and_the_next_run_goes_on(tmp_path, bundle) -> None:
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        add_rows(store, bundle, range(30 * BATCH_ROWS), OLD)
        add_rows(store, bundle, range(30 * BATCH_ROWS, 30 * BATCH_ROWS + 5), NOW)
        command = [sys.executable, "-c", KILLED, str(path), CUTOFF.isoformat()]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while count(store, ResultRow) > 28 * BATCH_ROWS:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate()
        left = contents(store)
        assert 5 < len(left) < 30 * BATCH_ROWS, "it was killed on the way"
        assert count(store, RegionRow) == len(left), "each with its region"
        drop_old_rows(store, CUTOFF)
        assert len(contents(store)) == count(store, RegionRow) == 5


def test_scoring_writes_while_old_rows_go(tmp_path, bundle) -> None:
    with ResultStore(tmp_path / "results.sqlite") as store:
        add_rows(store, bundle, range(20 * BATCH_ROWS), OLD)
        dropping = threading.Thread(target=drop_old_rows, args=(store, CUTOFF))
        dropping.start()
        added = 0
        while dropping.is_alive():
            add_rows(store, bundle, range(10**6 + added, 10**6 + added + 10), NOW)
            added += 10
        dropping.join()
        assert added >= 20, "it was let in between"
        assert len(contents(store)) == added
