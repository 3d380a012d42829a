"""Results get the kind of defect that a flagged image shows, and its probability; rows of before have neither."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("results", sa.Column("kind", sa.Text(), nullable=True))
    op.add_column("results", sa.Column("kind_probability", sa.Float(53), nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("results", "kind_probability")
    op.drop_column("results", "kind")
