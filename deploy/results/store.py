"""The result store: what was scored with which bundle, in SQLite (the default) or PostgreSQL.

One row stands for one image content and one bundle, so scoring a folder twice, or going on after a crash, adds
nothing twice. Rows are committed 256 to a transaction; what was committed survives a full disk and a `kill -9`.
SQLite runs in WAL mode, which needs a local disk: on a network share use PostgreSQL.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import bindparam, select, update

from deploy.bundles.bundle import Bundle
from deploy.bundles.manifest import linewise_version
from deploy.results.connections import Connections
from deploy.results.inserts import RESULTS, insert_batch
from deploy.results.outbox import Outbox
from deploy.results.production_queries import first_scored, scored_content, scored_under, unreadable_content
from deploy.results.records import Duplicate, NewPart, NewResult, NewVerdict, StoredScore, path_text
from deploy.results.region_rows import read_regions
from deploy.results.schema import ResultRow, ResultStatus, RunRow, RunStatus, VerdictRow
from deploy.results.verdict_queries import lines_by_content, verdicts_of
from pipeline.calibration import Decision
from pipeline.errors import ConfigError
from pipeline.regions import Region

TRANSACTION_ROWS = 256

_SCORED = select(*(RESULTS.c[name] for name in StoredScore._fields)).where(
    RESULTS.c.bundle_id == bindparam("bundle"), RESULTS.c.status == ResultStatus.SCORED
)
_FIND = _SCORED.where(RESULTS.c.image_sha256 == bindparam("sha256"))  # built once: building costs more than running


class ResultStore(Connections):
    """An open result store; see `Connections`. An SQLite file is made when it is not there."""

    def __init__(self, database: str | Path) -> None:
        super().__init__(database)
        self.outbox = Outbox(self.url, self._engine)

    # Writing

    def begin_run(self, bundle: Bundle, source: Path | str, *, device: str, workers: int) -> int:
        """Note that a scoring run begins. `source`: a path is made absolute, text is kept as it is.

        Returns:
            The run's id.
        """
        run = RunRow(
            line=bundle.manifest.line,
            bundle_id=bundle.id,
            bundle_version=bundle.manifest.version,
            folder=source if isinstance(source, str) else path_text(source),
            device=device,
            workers=workers,
            host=platform.node(),
            linewise_version=linewise_version(),
            started_at=datetime.now(UTC),
        )
        with self.writing_session() as session:
            session.add(run)
            session.flush()
            return run.id

    def add(self, rows: Iterable[NewResult | NewPart]) -> list[Duplicate]:
        """Commit rows, 256 to a transaction. A content that has a score of this bundle keeps its row.

        A content that was unreadable and now has a score gets it; a file that still cannot be opened gets the new
        reason. A row's regions, or its views, and its message go with it. Parts: see `insert_parts`.

        Returns:
            The rows whose content was there already under another path, in order.

        Raises:
            StorageError: the database cannot be written. Whole transactions before this one are kept.
        """
        duplicates: list[Duplicate] = []
        remaining = iter(rows)
        while batch := list(islice(remaining, TRANSACTION_ROWS)):
            with self.writing() as connection:
                found = insert_batch(connection, batch)
            duplicates.extend(found)
        return duplicates

    def finish_run(
        self,
        run_id: int,
        status: RunStatus,
        *,
        scored: int,
        skipped: int,
        flagged: int,
        unreadable: int,
        seconds: float,
    ) -> None:
        """Note how a run ended, and its counts of files."""
        statement = (
            update(RunRow)
            .where(RunRow.id == run_id)
            .values(
                status=status,
                finished_at=datetime.now(UTC),
                scored=scored,
                skipped=skipped,
                flagged=flagged,
                unreadable=unreadable,
                seconds=seconds,
            )
        )
        with self.writing() as connection:
            connection.execute(statement)

    def add_verdicts(self, verdicts: Iterable[NewVerdict]) -> int:
        """Note what a person says of images, all of it in one transaction; return how many verdicts that is.

        The latest one on a content counts; earlier ones stay. One that says when it was said keeps its time.

        Raises:
            StorageError: the database cannot be written. Nothing is noted then.
        """
        now = datetime.now(UTC)
        rows = [VerdictRow(**{**verdict._asdict(), "said_at": verdict.said_at or now}) for verdict in verdicts]
        with self.writing_session() as session:
            session.add_all(rows)
        return len(rows)

    # Reading

    def was_used(self, bundle: Bundle) -> bool:
        """Whether any run used this bundle, so that images may have results of it. Cheap."""
        with self.reading() as connection:
            return (
                connection.execute(select(RunRow.id).where(RunRow.bundle_id == bundle.id).limit(1)).first() is not None
            )

    def existing(self, bundle: Bundle, sha256s: Iterable[str]) -> set[str]:
        """Those of the contents that have a score of this bundle."""
        found: set[str] = set()
        remaining = iter(sha256s)
        with self.reading() as connection:
            while batch := list(islice(remaining, TRANSACTION_ROWS)):
                statement = _SCORED.with_only_columns(RESULTS.c.image_sha256).where(RESULTS.c.image_sha256.in_(batch))
                found.update(connection.scalars(statement, {"bundle": bundle.id}))
        return found

    def find(self, bundle: Bundle, sha256: str) -> StoredScore | None:
        """What this bundle said about a content, None when it was not asked yet. Cheap: one look-up in an index."""
        with self.reading() as connection:
            row = connection.execute(_FIND, {"bundle": bundle.id, "sha256": sha256}).first()
        return None if row is None else StoredScore(*row)

    def was_scored(self, line: str, path: Path, since: datetime) -> bool:
        """Whether an image of a line got a score under that path since then, by whichever bundle."""
        with self.reading() as connection:
            return connection.execute(scored_under(line, path_text(path), since).limit(1)).first() is not None

    def was_content_scored(self, line: str, sha256: str) -> bool:
        """Whether an image of a line with this content got a score, by whichever bundle."""
        with self.reading() as connection:
            return connection.execute(scored_content(line, sha256).limit(1)).first() is not None

    def was_told_unreadable(self, line: str, sha256: str, since: datetime, *, but_by: str) -> bool:
        """Whether another bundle than one could not read this content of a line, since then."""
        statement = unreadable_content(line, sha256, since, but_by=but_by)
        with self.reading() as connection:
            return connection.execute(statement.limit(1)).first() is not None

    def regions(self, bundle_id: str, sha256: str) -> tuple[Region, ...]:
        """The regions that a bundle marked in a content, the largest first. Cheap, too.

        None where it passed, or was scored before regions were kept.
        """
        with self.reading() as connection:
            return read_regions(connection, bundle_id, sha256)

    def query(
        self,
        *,
        run_id: int | None = None,
        line: str | None = None,
        bundle_id: str | None = None,
        decisions: Sequence[Decision] | None = None,
        status: ResultStatus | None = None,
        limit: int | None = 1000,
    ) -> list[ResultRow]:
        """Result rows that fit every given condition, the latest first.

        `run_id` finds what a run wrote; files it skipped have rows of an earlier run.

        Raises:
            ConfigError: `limit` is below one.
        """
        if limit is not None and limit < 1:
            raise ConfigError("a limit of at least 1", str(limit), "ask for one row or more")
        return list(
            self.stream(run_id=run_id, line=line, bundle_id=bundle_id, decisions=decisions, status=status, limit=limit)
        )

    def stream(
        self,
        *,
        run_id: int | None = None,
        line: str | None = None,
        bundle_id: str | None = None,
        decisions: Sequence[Decision] | None = None,
        status: ResultStatus | None = None,
        since: datetime | None = None,
        oldest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[ResultRow]:
        """As `query`, for any number of rows in flat memory; `since` is a time with a zone."""
        statement = select(ResultRow).order_by(ResultRow.id if oldest_first else ResultRow.id.desc()).limit(limit)
        if since is not None:
            statement = statement.where(ResultRow.scored_at >= since)
        for column, value in (
            (ResultRow.run_id, run_id),
            (ResultRow.line, line),
            (ResultRow.bundle_id, bundle_id),
            (ResultRow.status, status),
        ):
            if value is not None:
                statement = statement.where(column == value)
        if decisions is not None:
            statement = statement.where(ResultRow.decision.in_(decisions))
        statement = statement.execution_options(yield_per=TRANSACTION_ROWS)
        with (
            self.session() as session,
            closing(session.scalars(statement)) as rows,  # an abandoned reader closes the server's cursor too
        ):
            for row in rows:
                session.expunge(row)
                yield row

    def runs(self, *, line: str | None = None, run_id: int | None = None, limit: int = 100) -> list[RunRow]:
        """Scoring runs that fit every given condition, the latest first."""
        statement = select(RunRow).order_by(RunRow.id.desc()).limit(limit)
        if line is not None:
            statement = statement.where(RunRow.line == line)
        if run_id is not None:
            statement = statement.where(RunRow.id == run_id)
        with self.session() as session:
            return list(session.scalars(statement))

    def last_scored(self, line: str) -> datetime | None:
        """When the latest image of a line got its score; None before the first. Cheap: one look-up in an index."""
        scored = select(ResultRow.scored_at).where(ResultRow.line == line, ResultRow.status == ResultStatus.SCORED)
        with self.reading() as connection:
            return connection.scalars(scored.order_by(ResultRow.scored_at.desc()).limit(1)).first()

    def first_scored(self, line: str, since: datetime, *, limit: int) -> list[ResultRow]:
        """Results of a line's images that came since a time with a zone, the latest first.

        An image that another version had scored before did not come since then.
        """
        statement = first_scored(line, since, limit)
        with self.session() as session:
            return list(session.scalars(statement))

    def lines_of(self, sha256s: Iterable[str]) -> dict[str, set[str]]:
        """By content the lines that it was scored for, or was to be; without contents that no line knows."""
        with self.reading() as connection:
            return lines_by_content(connection, sha256s)

    def verdicts(
        self, line: str, *, image_sha256: str | None = None, overruled: bool = False, withdrawn: bool = False
    ) -> list[VerdictRow]:
        """What people say of a line's images, or of one content, the latest first.

        On each content the word that counts; with `overruled` also those that a later one took the place of; with
        `withdrawn` all that was ever said, what was taken back and the words that did so, too.
        """
        statement = verdicts_of(line, image_sha256=image_sha256, overruled=overruled, withdrawn=withdrawn)
        with self.session() as session:
            return list(session.scalars(statement))
