"""What scored images look like, in figures, and the alarms of who watches them; rows of before have no figures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FIGURES = ("look_brightness", "look_contrast", "look_fineness", "look_red", "look_blue")


def upgrade() -> None:
    """Add the columns, and make the tables."""
    op.add_column("results", sa.Column("image_depth", sa.Integer(), nullable=True))
    for name in _FIGURES:
        op.add_column("results", sa.Column(name, sa.Float(53), nullable=True))
    op.add_column("results", sa.Column("look_profiles", sa.LargeBinary(), nullable=True))
    op.create_table(
        "drift_states",
        sa.Column("line", sa.String(200), nullable=False),
        sa.Column("bundle_id", sa.String(64), nullable=False),
        sa.Column("row_id", _ID, nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("watched_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("line", name="pk_drift_states"),
    )
    op.create_table(
        "drift_alarms",
        sa.Column("id", _ID, nullable=False),
        sa.Column("line", sa.String(200), nullable=False),
        sa.Column("bundle_id", sa.String(64), nullable=False),
        sa.Column("bundle_version", sa.String(128), nullable=False),
        sa.Column("statistic", sa.String(32), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("noticed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("change", sa.Float(53), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_drift_alarms"),
    )
    op.create_index("ix_drift_alarms_line", "drift_alarms", ["line"])


def downgrade() -> None:
    """Drop them, with everything in them."""
    op.drop_table("drift_alarms")
    op.drop_table("drift_states")
    for name in ("look_profiles", *reversed(_FIGURES), "image_depth"):
        op.drop_column("results", name)
