"""Why a verdict was asked for, its defect's kind and place; words that take others back; skipped questions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WITH_REASON = sa.text("reason IS NOT NULL")
_INDEXES = {
    "results": (("bundle_id", "decision", "score"), ("bundle_id", "image_sha256")),
    "verdicts": (("line", "said_at"), ("withdraws",), ("bundle_id", "question")),
    "skips": (("result_id", "by"), ("line", "skipped_at")),
}


def upgrade() -> None:
    """Add the columns, make the table and the indexes that questions are chosen by."""
    with op.batch_alter_table("verdicts") as verdicts:  # SQLite adds a foreign key by a copy of the table
        verdicts.add_column(sa.Column("kind", sa.Text(), nullable=True))
        verdicts.add_column(sa.Column("box", sa.JSON(), nullable=True))
        verdicts.add_column(sa.Column("question", sa.String(16), nullable=True))
        verdicts.add_column(sa.Column("bundle_id", sa.String(64), nullable=True))
        verdicts.add_column(sa.Column("withdraws", _ID, nullable=True))
        verdicts.create_foreign_key("fk_verdicts_withdraws_verdicts", "verdicts", ["withdraws"], ["id"])
    op.create_table(
        "skips",
        sa.Column("id", _ID, nullable=False),
        sa.Column("line", sa.String(200), nullable=False),
        sa.Column("result_id", _ID, nullable=False),
        sa.Column("question", sa.String(16), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("skipped_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_skips"),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name="fk_skips_result_id_results"),
    )
    for table, indexes in _INDEXES.items():
        for columns in indexes:
            op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))
    op.create_index(
        "ix_results_bundle_id_with_reason",
        "results",
        ["bundle_id", "id"],
        sqlite_where=_WITH_REASON,
        postgresql_where=_WITH_REASON,
    )


def downgrade() -> None:
    """Drop them, with everything in them; what was taken back is dropped too, so that it does not count again."""
    op.execute("DELETE FROM verdicts WHERE id IN (SELECT withdraws FROM verdicts) OR withdraws IS NOT NULL")
    op.drop_table("skips")
    for table in ("results", "verdicts"):
        for columns in _INDEXES[table]:
            op.drop_index(f"ix_{table}_{'_'.join(columns)}", table)
    op.drop_index("ix_results_bundle_id_with_reason", "results")
    with op.batch_alter_table("verdicts") as verdicts:
        verdicts.drop_constraint("fk_verdicts_withdraws_verdicts", type_="foreignkey")
        for column in ("kind", "box", "question", "bundle_id", "withdraws"):
            verdicts.drop_column(column)
