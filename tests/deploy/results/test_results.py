from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.bundles.bundle import Bundle, write_bundle
from deploy.results.records import Duplicate, NewResult, path_text
from deploy.results.schema import ResultRow, ResultStatus, RunStatus
from deploy.results.store import ResultStore
from pipeline.calibration import Decision
from pipeline.errors import ConfigError, StorageError
from tests.deploy.results.result_rows import REGION, begin, scored, sha256, unreadable
from tests.parts.plant import bundle_files, make_draft, mounted_tmpfs


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle", make_draft(), bundle_files())


def test_a_new_row_brings_every_column_but_the_id() -> None:
    assert set(NewResult._fields) - {"message", "regions"} == set(ResultRow.__table__.columns.keys()) - {"id"}


def test_rows_come_back_as_they_went(store: ResultStore, bundle: Bundle) -> None:
    run = begin(store, bundle)
    assert store.add([scored(run, bundle, 1, score=2.5), unreadable(run, bundle, "/images/x", number=None)]) == []
    broken, reject = store.query()
    assert (reject.score, reject.decision, reject.status) == (2.5, Decision.REJECT, ResultStatus.SCORED)
    assert reject.decision is Decision.REJECT
    assert reject.scored_at == datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
    assert (reject.image_path, reject.image_sha256) == ("/images/1.png", sha256(1))
    assert (broken.image_sha256, broken.reason, broken.score) == (None, "broken", None)


def test_a_content_has_one_row_a_bundle(store: ResultStore, bundle: Bundle, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", make_draft(version="v2"), bundle_files())
    first, second = begin(store, bundle), begin(store, other)
    for run in (first, first, begin(store, bundle)):
        assert store.add(scored(run, bundle, number) for number in range(600)) == []
    store.add(scored(second, other, number) for number in range(3))
    rows = store.query(limit=None)
    assert len(rows) == 603
    assert {row.run_id for row in rows} == {first, second}, "the first run keeps its rows"
    assert store.existing(bundle, map(sha256, range(590, 610))) == set(map(sha256, range(590, 600)))
    assert store.existing(other, map(sha256, range(590, 610))) == set()


def test_duplicates_are_named_with_the_path_that_came_first(store: ResultStore, bundle: Bundle) -> None:
    run = begin(store, bundle)
    rows = [scored(run, bundle, 1, path="/a"), scored(run, bundle, 1, path="/b"), scored(run, bundle, 1, path="/a")]
    assert store.add(rows) == [Duplicate("/b", "/a")]
    assert store.add([scored(run, bundle, 1, path="/c")]) == [Duplicate("/c", "/a")]
    assert [row.image_path for row in store.query()] == ["/a"]
    found = store.find(bundle, sha256(1))
    assert found is not None
    assert (found.image_path, found.score, found.decision) == ("/a", 0.5, Decision.PASS)
    assert store.find(bundle, sha256(2)) is None


def test_an_unreadable_content_gets_its_score_later_and_never_loses_it(store: ResultStore, bundle: Bundle) -> None:
    run = begin(store, bundle)
    store.add([unreadable(run, bundle, "/images/7.png", number=7)])
    assert store.existing(bundle, [sha256(7)]) == set(), "it will be tried again"
    later = begin(store, bundle)
    store.add([unreadable(later, bundle, "/images/7.png", number=7, reason="still broken")])
    assert [row.run_id for row in store.query()] == [run]
    store.add([scored(later, bundle, 7)])
    store.add([unreadable(later, bundle, "/images/7.png", number=7)])
    (row,) = store.query()
    assert (row.run_id, row.status, row.reason, row.score) == (later, ResultStatus.SCORED, None, 0.5)


def test_a_file_that_cannot_be_opened_has_one_row_a_path(store: ResultStore, bundle: Bundle) -> None:
    run = begin(store, bundle)
    for reason in ("first", "second"):
        store.add([unreadable(run, bundle, path, number=None, reason=reason) for path in ("/x", "/y", "/x")])
    assert [(row.image_path, row.reason) for row in store.query()] == [("/y", "second"), ("/x", "second")]


def test_queries_filter(store: ResultStore, bundle: Bundle) -> None:
    first, second = begin(store, bundle), begin(store, bundle)
    store.add(scored(first, bundle, number, score=number) for number in range(4))
    store.add([scored(second, bundle, 9, score=9.0), unreadable(second, bundle, "/x", number=10)])
    assert [row.score for row in store.query(run_id=first)] == [3, 2, 1, 0]
    assert [row.score for row in store.query(decisions=[Decision.REJECT, Decision.REVIEW])] == [9, 3, 2, 1]
    assert [row.score for row in store.query(decisions=[Decision.REJECT], limit=2)] == [9, 3]
    assert [row.image_path for row in store.query(status=ResultStatus.UNREADABLE)] == ["/x"]
    assert len(store.query(line="mvtec/pill", bundle_id=bundle.id)) == 6
    assert store.query(line="other") == []
    partly = store.stream()
    assert next(partly).score is None
    del partly  # an abandoned reader lets go of its connection
    with pytest.raises(ConfigError, match="limit"):
        store.query(limit=0)


def test_the_last_score_of_a_line_is_that_of_its_latest_image_with_one(store: ResultStore, bundle: Bundle) -> None:
    line = bundle.manifest.line
    assert store.last_scored(line) is None
    run = begin(store, bundle)
    earlier, later = datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC)
    broken = unreadable(run, bundle, "/images/broken.png", number=None)._replace(scored_at=later + timedelta(hours=1))
    store.add([scored(run, bundle, 1)._replace(scored_at=later), scored(run, bundle, 2)._replace(scored_at=earlier)])
    store.add([broken, scored(run, bundle, 3)._replace(line="another", scored_at=later + timedelta(hours=2))])
    assert store.last_scored(line) == later


def test_runs_begin_and_finish(store: ResultStore, bundle: Bundle) -> None:
    assert not store.was_used(bundle)
    first, second = begin(store, bundle), begin(store, bundle)
    assert store.was_used(bundle)
    store.finish_run(first, RunStatus.FINISHED, scored=5, skipped=1, flagged=2, unreadable=3, seconds=1.25)
    latest, earliest = store.runs(line="mvtec/pill")
    assert (latest.id, latest.status, latest.finished_at) == (second, RunStatus.RUNNING, None)
    assert (earliest.status, earliest.scored, earliest.flagged, earliest.seconds) == (RunStatus.FINISHED, 5, 2, 1.25)
    assert earliest.finished_at is not None
    assert earliest.finished_at >= earliest.started_at
    assert (earliest.bundle_id, earliest.folder, earliest.device) == (bundle.id, "/images", "cpu")
    assert store.runs(line="other") == []


def test_threads_and_processes_write_at_once(database: str, bundle: Bundle) -> None:
    stores = [ResultStore(database), ResultStore(database)]
    run = begin(stores[0], bundle)
    failures: list[BaseException] = []

    def write(store: ResultStore) -> None:
        try:
            for start in range(0, 1000, 100):
                store.add(scored(run, bundle, number) for number in range(start, start + 100))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(store,)) for store in stores for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(stores[0].query(limit=None)) == 1000
    for store in stores:
        store.close()


def test_new_databases_are_made_by_many_at_once(database: str) -> None:
    failures: list[BaseException] = []

    def open_it() -> None:
        try:
            ResultStore(database).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_sqlite_runs_in_wal_mode_and_takes_a_plain_path(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.sqlite"
    ResultStore(path).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_transaction_takes_256_rows(tmp_path: Path, bundle: Bundle) -> None:
    with ResultStore(tmp_path / "r.sqlite") as store:
        run = begin(store, bundle)

        def rows() -> Iterator[ResultRow]:
            for number in range(600):
                if number in (256, 512):
                    assert len(store.query(limit=None)) == number
                yield scored(run, bundle, number)

        store.add(rows())
        assert len(store.query(limit=None)) == 600


def test_a_full_disk_is_a_sentence_and_keeps_what_was_committed(tmp_path: Path, bundle: Bundle) -> None:
    with mounted_tmpfs(tmp_path / "small", kilobytes=512) as folder:
        with ResultStore(folder / "r.sqlite") as store:
            run = begin(store, bundle)
            with pytest.raises(StorageError, match="full disk"):
                store.add(scored(run, bundle, number) for number in range(100_000))
            kept = {row.image_sha256 for row in store.query(limit=None)}
            assert kept
            assert len(kept) % 256 == 0
        with ResultStore(folder / "r.sqlite") as store:
            assert {row.image_sha256 for row in store.query(limit=None)} == kept


def test_what_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("this is no database " * 100)
    with pytest.raises(StorageError, match="no SQLite database"):
        ResultStore(tmp_path / "text.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot be opened"):
        ResultStore(tmp_path / "folder")
    with pytest.raises(StorageError, match=r"text\.sqlite"):
        ResultStore(tmp_path / "text.sqlite" / "below" / "r.sqlite")
    ResultStore(tmp_path / "damaged.sqlite").close()
    content = bytearray((tmp_path / "damaged.sqlite").read_bytes())
    content[100:8192] = bytes(len(content[100:8192]))
    (tmp_path / "damaged.sqlite").write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        ResultStore(tmp_path / "damaged.sqlite")


def test_a_read_only_disk_is_a_sentence(tmp_path: Path) -> None:
    with (
        mounted_tmpfs(tmp_path / "sealed", kilobytes=64, read_only=True) as folder,
        pytest.raises(StorageError, match=r"cannot be opened|read-only"),
    ):
        ResultStore(folder / "r.sqlite")


def test_urls_that_cannot_be_used_are_sentences_without_passwords(tmp_path: Path) -> None:
    for url, words in [
        ("mysql://user:secret@host/db", "SQLite or PostgreSQL"),
        ("sqlite://", "without one"),
        ("sqlite:///:memory:", "without one"),
        ("://secret", "database URL"),
        ("postgresql+pg8000://user:secret@host/db", "a driver for postgresql.pg8000, got none installed: pip install"),
    ]:
        with pytest.raises(ConfigError, match=words) as caught:
            ResultStore(url)
        assert "secret" not in str(caught.value)
    with pytest.raises(StorageError, match="postgresql") as failed:
        ResultStore(f"postgresql://user:secret@/db?host={tmp_path}")
    assert "secret" not in str(failed.value)


def test_any_file_name_can_be_kept(store: ResultStore, bundle: Bundle) -> None:
    run = begin(store, bundle)
    strange = path_text(Path(os.fsdecode(b"/images/caf\xe9 \xf0\x9f\x8d\x95.png")))
    store.add([scored(run, bundle, 1, path=strange)])
    assert [row.image_path for row in store.query()] == [strange] == ["/images/caf\\xe9 🍕.png"]


# Regions


def test_regions_come_back_as_they_went(store: ResultStore, bundle: Bundle) -> None:
    run, other = begin(store, bundle), replace(REGION, area=2.0, area_mm2=None)
    row = scored(run, bundle, 1, score=2.5)._replace(image_height=30, image_width=40, regions=(REGION, other))
    for _ in range(2):
        store.add([row, scored(run, bundle, 2)])
    assert store.regions(bundle.id, sha256(1)) == (REGION, other)
    assert store.regions(bundle.id, sha256(2)) == store.regions("another bundle", sha256(1)) == ()
    found = store.find(bundle, sha256(1))
    assert found is not None
    assert found.size == (30, 40)


def test_a_content_that_could_not_be_read_gets_its_regions_with_its_score(store: ResultStore, bundle: Bundle) -> None:
    run = begin(store, bundle)
    store.add([unreadable(run, bundle, "/images/1.png", number=1)])
    store.add([scored(run, bundle, 1, score=2.5)._replace(regions=(REGION,))])
    assert store.regions(bundle.id, sha256(1)) == (REGION,)
