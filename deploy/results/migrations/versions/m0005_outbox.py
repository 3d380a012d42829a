"""What is to be sent to receivers of messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "outbox",
        sa.Column("id", _ID, nullable=False),
        sa.Column("message_id", sa.String(64), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("line", sa.String(200), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("message_id", "destination", name="uq_outbox_message_id_destination"),
        sqlite_autoincrement=True,
    )
    waiting = sa.text("refusal IS NULL")
    op.create_index(
        "ix_outbox_waiting", "outbox", ["destination", "id"], sqlite_where=waiting, postgresql_where=waiting
    )


def downgrade() -> None:
    """Drop the table, with everything in it: what was not delivered is lost."""
    op.drop_table("outbox")
