"""Runs and results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "runs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("line", sa.String(200), nullable=False),
        sa.Column("bundle_id", sa.String(64), nullable=False),
        sa.Column("bundle_version", sa.String(128), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("workers", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("linewise_version", sa.String(64), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scored", sa.Integer(), nullable=True),
        sa.Column("skipped", sa.Integer(), nullable=True),
        sa.Column("flagged", sa.Integer(), nullable=True),
        sa.Column("unreadable", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Float(53), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_line", "runs", ["line"])
    op.create_table(
        "results",
        sa.Column("id", _ID, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("line", sa.String(200), nullable=False),
        sa.Column("bundle_id", sa.String(64), nullable=False),
        sa.Column("bundle_version", sa.String(128), nullable=False),
        sa.Column("image_path", sa.Text(), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("score", sa.Float(53), nullable=True),
        sa.Column("decision", sa.String(16), nullable=True),
        sa.Column("reject_threshold", sa.Float(53), nullable=False),
        sa.Column("review_threshold", sa.Float(53), nullable=False),
        sa.Column("overlay_path", sa.Text(), nullable=True),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_results"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_results_run_id_runs"),
        sa.UniqueConstraint("image_sha256", "bundle_id", name="uq_results_image_sha256_bundle_id"),
    )
    op.create_index(
        "uq_results_image_path_bundle_id",
        "results",
        ["image_path", "bundle_id"],
        unique=True,
        sqlite_where=sa.text("image_sha256 IS NULL"),
        postgresql_where=sa.text("image_sha256 IS NULL"),
    )
    op.create_index("ix_results_line_scored_at", "results", ["line", "scored_at"])
    op.create_index("ix_results_run_id_decision", "results", ["run_id", "decision"])


def downgrade() -> None:
    """Drop both tables, with everything in them."""
    op.drop_table("results")
    op.drop_table("runs")
