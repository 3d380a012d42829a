"""Parts get the kind of defect that their deciding view shows, and its probability; rows of before have neither."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("parts", sa.Column("kind", sa.Text(), nullable=True))
    op.add_column("parts", sa.Column("kind_probability", sa.Float(53), nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("parts", "kind_probability")
    op.drop_column("parts", "kind")
