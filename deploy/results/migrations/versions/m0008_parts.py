"""Parts that have several views, and the images that are their views."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "parts",
        sa.Column("id", _ID, nullable=False),
        sa.Column("line", sa.String(200), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("bundle_id", sa.String(64), nullable=False),
        sa.Column("bundle_version", sa.String(128), nullable=False),
        sa.Column("content_id", sa.String(64), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("worst_view", sa.Text(), nullable=False),
        sa.Column("image_path", sa.Text(), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=True),
        sa.Column("score", sa.Float(53), nullable=True),
        sa.Column("p_value", sa.Float(53), nullable=True),
        sa.Column("reject_threshold", sa.Float(53), nullable=False),
        sa.Column("review_threshold", sa.Float(53), nullable=False),
        sa.Column("views_expected", sa.Integer(), nullable=False),
        sa.Column("views_seen", sa.JSON(), nullable=False),
        sa.Column("views_missing", sa.JSON(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_parts"),
        sa.UniqueConstraint("content_id", name="uq_parts_content_id"),
    )
    op.create_index("ix_parts_line_decided_at", "parts", ["line", "decided_at"])
    op.create_index("ix_parts_bundle_id_part", "parts", ["bundle_id", "part"])
    op.create_table(
        "part_views",
        sa.Column("part_id", _ID, nullable=False),
        sa.Column("view", sa.Text(), nullable=False),
        sa.Column("image_path", sa.Text(), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=True),
        sa.ForeignKeyConstraint(["part_id"], ["parts.id"], name="fk_part_views_part_id_parts"),
        sa.PrimaryKeyConstraint("part_id", "view", name="pk_part_views"),
    )
    op.create_index("ix_part_views_image_sha256", "part_views", ["image_sha256"])


def downgrade() -> None:
    """Drop them, with everything in them."""
    op.drop_table("part_views")
    op.drop_table("parts")
