"""Results get the p-value of their score; rows of before have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("results", sa.Column("p_value", sa.Float(53), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("results", "p_value")
