"""Where flagged images are marked, and the size of every image; rows of before have neither."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and add the columns."""
    op.create_table(
        "regions",
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("bundle_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("x", sa.Float(53), nullable=False),
        sa.Column("y", sa.Float(53), nullable=False),
        sa.Column("width", sa.Float(53), nullable=False),
        sa.Column("height", sa.Float(53), nullable=False),
        sa.Column("area", sa.Float(53), nullable=False),
        sa.Column("area_mm2", sa.Float(53), nullable=True),
        sa.Column("peak", sa.Float(53), nullable=False),
        sa.Column("mean", sa.Float(53), nullable=False),
        sa.Column("contour", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("image_sha256", "bundle_id", "number", name="pk_regions"),
    )
    op.add_column("results", sa.Column("image_height", sa.Integer(), nullable=True))
    op.add_column("results", sa.Column("image_width", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Drop them, with everything in them."""
    op.drop_column("results", "image_width")
    op.drop_column("results", "image_height")
    op.drop_table("regions")
