"""The result store's tables, as typed classes. `migrations` makes them; a test holds the two equal."""

# Longer than the others: the tables of one database, which migrations are compared with, stand in one place.

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from pipeline.calibration import Decision

SCHEMA_REVISION = "0011"
"""Of the last migration: what a database has that needs none."""

VERSION_TABLE = "linewise_schema"
"""Where alembic notes how far the schema is; not its usual name, which another program in one database may use."""

_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only


class RunStatus(StrEnum):
    """How a scoring run stands. A run that says RUNNING long after it began was killed."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ResultStatus(StrEnum):
    """Whether an image got a score."""

    SCORED = "scored"
    UNREADABLE = "unreadable"


class Verdict(StrEnum):
    """What a person says of a part: the line makes such parts on purpose, or not."""

    GOOD = "good"
    DEFECTIVE = "defective"


class QuestionKind(StrEnum):
    """Why a person was asked about an image. Rates are taken from RANDOM alone: the others are asked for what they are.

    FLAGGED: the highest score that is REJECT or REVIEW. BORDERLINE: the score nearest to the reject threshold. UNLIKE:
    it does not look like the line. CONTESTED: a version that the gate holds flags it, and the live one does not.
    RANDOM: any image, whatever its score.
    """

    FLAGGED = "flagged"
    BORDERLINE = "borderline"
    UNLIKE = "unlike"
    CONTESTED = "contested"
    RANDOM = "random"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept as UTC; SQLite has no zones and forgets them."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is None:
            return None
        assert value.tzinfo is not None, "a time without a zone"
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the base class's signature
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _Text(TypeDecorator[StrEnum]):
    """A StrEnum kept as its text."""

    impl = String(16)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the base class's signature
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002 - the base class's signature
        return None if value is None else self.kind(value)


class Base(MappedAsDataclass, DeclarativeBase):
    """Base of the tables. Constraint names are fixed, so that a later migration can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class RunRow(Base, kw_only=True):
    """One scoring run: a source, scored with one bundle on one device. `folder` is its path, or a stream's URL.

    Counts are of files or frames; None until it ends.

    `scored` and `unreadable` files were met in this run, `skipped` ones had a result of this bundle already;
    `flagged` counts REVIEW and REJECT among scored and skipped.
    """

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(_Id, primary_key=True, init=False)
    line: Mapped[str] = mapped_column(String(200), index=True)
    bundle_id: Mapped[str] = mapped_column(String(64))
    bundle_version: Mapped[str] = mapped_column(String(128))
    folder: Mapped[str] = mapped_column(Text)
    device: Mapped[str] = mapped_column(String(64))
    workers: Mapped[int]
    host: Mapped[str] = mapped_column(String(255))
    linewise_version: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[RunStatus] = mapped_column(_Text(RunStatus), default=RunStatus.RUNNING)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    scored: Mapped[int | None] = mapped_column(default=None)
    skipped: Mapped[int | None] = mapped_column(default=None)
    flagged: Mapped[int | None] = mapped_column(default=None)
    unreadable: Mapped[int | None] = mapped_column(default=None)
    seconds: Mapped[float | None] = mapped_column(Float(53), default=None)


class ResultRow(Base, kw_only=True):
    """What one bundle says about one image content; about one path, where the content could not be read at all.

    `run_id` and `image_path` are those of the first run and path that met the content: the same content under another
    path, or in a later run, adds no row. `image_sha256` is None only for a file that could not be opened. `p_value` is
    also None where the bundle, or the row, is of before there was any. `image_height` and `image_width` are of the
    upright image in pixels; None where it was not scored, or in rows of before they were kept. `image_depth` is in bits
    of a stored pixel; `look_...` are the `pipeline.look_figures.LookFigures`: both None likewise. `kind` is the
    likeliest of the line's kinds of defects, or "none of these", whose probability is None; None where nobody asked.
    """

    __tablename__ = "results"
    __table_args__ = (
        UniqueConstraint("image_sha256", "bundle_id"),
        Index(
            "uq_results_image_path_bundle_id",
            "image_path",
            "bundle_id",
            unique=True,
            sqlite_where=text("image_sha256 IS NULL"),
            postgresql_where=text("image_sha256 IS NULL"),
        ),
        Index(None, "line", "scored_at"),
        Index(None, "run_id", "decision"),
        Index(None, "bundle_id", "decision", "score"),
        Index(None, "bundle_id", "image_sha256"),
        Index(
            "ix_results_bundle_id_not_passed_with_reason",
            "bundle_id",
            "id",
            sqlite_where=text("decision != 'PASS' AND reason IS NOT NULL"),
            postgresql_where=text("decision != 'PASS' AND reason IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True, init=False)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    line: Mapped[str] = mapped_column(String(200))
    bundle_id: Mapped[str] = mapped_column(String(64))
    bundle_version: Mapped[str] = mapped_column(String(128))
    image_path: Mapped[str] = mapped_column(Text)
    image_sha256: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[ResultStatus] = mapped_column(_Text(ResultStatus))
    reason: Mapped[str | None] = mapped_column(Text, default=None)
    score: Mapped[float | None] = mapped_column(Float(53), default=None)
    decision: Mapped[Decision | None] = mapped_column(_Text(Decision), default=None)
    reject_threshold: Mapped[float] = mapped_column(Float(53))
    review_threshold: Mapped[float] = mapped_column(Float(53))
    overlay_path: Mapped[str | None] = mapped_column(Text, default=None)
    scored_at: Mapped[datetime] = mapped_column(UtcDateTime)
    p_value: Mapped[float | None] = mapped_column(Float(53), default=None)
    image_height: Mapped[int | None] = mapped_column(default=None)
    image_width: Mapped[int | None] = mapped_column(default=None)
    image_depth: Mapped[int | None] = mapped_column(default=None)
    look_brightness: Mapped[float | None] = mapped_column(Float(53), default=None)
    look_contrast: Mapped[float | None] = mapped_column(Float(53), default=None)
    look_fineness: Mapped[float | None] = mapped_column(Float(53), default=None)
    look_red: Mapped[float | None] = mapped_column(Float(53), default=None)
    look_blue: Mapped[float | None] = mapped_column(Float(53), default=None)
    look_profiles: Mapped[bytes | None] = mapped_column(LargeBinary, default=None)
    kind: Mapped[str | None] = mapped_column(Text, default=None)
    kind_probability: Mapped[float | None] = mapped_column(Float(53), default=None)


class RegionRow(Base, kw_only=True):
    """A region that one bundle marked in one flagged image content; see `pipeline.regions.Region`.

    `number` is 1 for the content's largest. `x` and `y` are the box's left and top.
    """

    __tablename__ = "regions"

    image_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    bundle_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    x: Mapped[float] = mapped_column(Float(53))
    y: Mapped[float] = mapped_column(Float(53))
    width: Mapped[float] = mapped_column(Float(53))
    height: Mapped[float] = mapped_column(Float(53))
    area: Mapped[float] = mapped_column(Float(53))
    area_mm2: Mapped[float | None] = mapped_column(Float(53), default=None)
    peak: Mapped[float] = mapped_column(Float(53))
    mean: Mapped[float] = mapped_column(Float(53))
    contour: Mapped[list[list[float]]] = mapped_column(JSON)


class VerdictRow(Base, kw_only=True):
    """What a person said of one image content of a line. The latest word counts; earlier ones stay for who asks later.

    `image_path` is where the image lay when it was said; `by` is whoever said it, as they call themselves. `kind` is
    the defect's, `box` its place: left, top, width and height in pixels of the upright image. `question` says why it
    was asked, `bundle_id` what had scored it; both None where a person spoke unasked. A row with `withdraws` takes the
    word of that id back and repeats it: neither counts.
    """

    __tablename__ = "verdicts"
    __table_args__ = (
        Index(None, "line", "image_sha256"),
        Index(None, "line", "said_at"),
        Index(None, "withdraws"),
        Index(None, "bundle_id", "question"),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True, init=False)
    line: Mapped[str] = mapped_column(String(200))
    image_sha256: Mapped[str] = mapped_column(String(64))
    image_path: Mapped[str] = mapped_column(Text)
    verdict: Mapped[Verdict] = mapped_column(_Text(Verdict))
    by: Mapped[str | None] = mapped_column(Text, default=None)
    note: Mapped[str | None] = mapped_column(Text, default=None)
    said_at: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str | None] = mapped_column(Text, default=None)
    box: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True), default=None)
    question: Mapped[QuestionKind | None] = mapped_column(_Text(QuestionKind), default=None)
    bundle_id: Mapped[str | None] = mapped_column(String(64), default=None)
    withdraws: Mapped[int | None] = mapped_column(ForeignKey("verdicts.id"), default=None)


class SkipRow(Base, kw_only=True):
    """A question that a person had no answer to; it is not put to them again, unless they took that back."""

    __tablename__ = "skips"
    __table_args__ = (Index(None, "result_id", "by"), Index(None, "line", "skipped_at"))

    id: Mapped[int] = mapped_column(_Id, primary_key=True, init=False)
    line: Mapped[str] = mapped_column(String(200))
    result_id: Mapped[int] = mapped_column(ForeignKey("results.id"))
    question: Mapped[QuestionKind | None] = mapped_column(_Text(QuestionKind), default=None)
    by: Mapped[str] = mapped_column(Text)
    skipped_at: Mapped[datetime] = mapped_column(UtcDateTime)
    taken_back_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)


class OutboxRow(Base, kw_only=True):
    """A message that is to be delivered; it goes once the receiver has it. `id` says the order; none is used again.

    `message_id` is the same whenever the same is sent again. `destination` is an address without credentials.
    `decision` is that of the result, or UNREADABLE. `refusal` is why the receiver will never take it; None: it waits.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("message_id", "destination"),
        Index(
            "ix_outbox_waiting",
            "destination",
            "id",
            sqlite_where=text("refusal IS NULL"),
            postgresql_where=text("refusal IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True, init=False)
    message_id: Mapped[str] = mapped_column(String(64))
    destination: Mapped[str] = mapped_column(Text)
    line: Mapped[str] = mapped_column(String(200))
    decision: Mapped[str] = mapped_column(String(16))
    body: Mapped[str] = mapped_column(Text)
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    refusal: Mapped[str | None] = mapped_column(Text, default=None)


class DriftStateRow(Base, kw_only=True):
    """How far a line's stream was watched for drift. `row_id` is the last result that was looked at.

    `state` is what `deploy.drift.detector.Detector` knows so far, as it packs it.
    """

    __tablename__ = "drift_states"

    line: Mapped[str] = mapped_column(String(200), primary_key=True)
    bundle_id: Mapped[str] = mapped_column(String(64))
    row_id: Mapped[int] = mapped_column(_Id)
    images: Mapped[int]
    state: Mapped[bytes] = mapped_column(LargeBinary)
    watched_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DriftAlarmRow(Base, kw_only=True):
    """A change that was noticed in a line's stream, in one statistic.

    `since` is when the first changed image was scored, as estimated, `noticed_at` the one that gave the alarm. `change`
    is how large it is in the statistic's own measure, `words` the same for people. `before` and `after` are paths of
    images that show it. `told_at` is None until the alarm was told; then it is told no more.
    """

    __tablename__ = "drift_alarms"

    id: Mapped[int] = mapped_column(_Id, primary_key=True, init=False)
    line: Mapped[str] = mapped_column(String(200), index=True)
    bundle_id: Mapped[str] = mapped_column(String(64))
    bundle_version: Mapped[str] = mapped_column(String(128))
    statistic: Mapped[str] = mapped_column(String(32))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    noticed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    change: Mapped[float] = mapped_column(Float(53))
    words: Mapped[str] = mapped_column(Text)
    before: Mapped[list[str]] = mapped_column(JSON)
    after: Mapped[list[str]] = mapped_column(JSON)
    told_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    acknowledged_by: Mapped[str | None] = mapped_column(Text, default=None)
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)


class PartRow(Base, kw_only=True):
    """A part of several views, judged by one bundle: its worst view decides. Told once, and anew if more views come.

    `content_id` is equal for equal contents of the same views. `worst_view` is the view that decided; the path, the
    content, the score, the p-value and the kind are of its image. A part that misses a view has fewer `views_seen` than
    `views_expected`; `views_missing` is empty where views have no names.
    """

    __tablename__ = "parts"
    __table_args__ = (Index(None, "line", "decided_at"), Index(None, "bundle_id", "part"))

    id: Mapped[int] = mapped_column(_Id, primary_key=True, init=False)
    line: Mapped[str] = mapped_column(String(200))
    part: Mapped[str] = mapped_column(Text)
    bundle_id: Mapped[str] = mapped_column(String(64))
    bundle_version: Mapped[str] = mapped_column(String(128))
    content_id: Mapped[str] = mapped_column(String(64), unique=True)
    decision: Mapped[Decision] = mapped_column(_Text(Decision))
    reason: Mapped[str | None] = mapped_column(Text, default=None)
    worst_view: Mapped[str] = mapped_column(Text)
    image_path: Mapped[str] = mapped_column(Text)
    image_sha256: Mapped[str | None] = mapped_column(String(64))
    score: Mapped[float | None] = mapped_column(Float(53), default=None)
    p_value: Mapped[float | None] = mapped_column(Float(53), default=None)
    reject_threshold: Mapped[float] = mapped_column(Float(53))
    review_threshold: Mapped[float] = mapped_column(Float(53))
    views_expected: Mapped[int]
    views_seen: Mapped[list[str]] = mapped_column(JSON)
    views_missing: Mapped[list[str]] = mapped_column(JSON)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str | None] = mapped_column(Text, default=None)
    kind_probability: Mapped[float | None] = mapped_column(Float(53), default=None)


class PartViewRow(Base, kw_only=True):
    """A view of a part, by its image: what tells two parts of one name apart."""

    __tablename__ = "part_views"

    part_id: Mapped[int] = mapped_column(ForeignKey("parts.id"), primary_key=True)
    view: Mapped[str] = mapped_column(Text, primary_key=True)
    image_path: Mapped[str] = mapped_column(Text)
    image_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
