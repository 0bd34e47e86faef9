"""What a rollout says of shadow, window and site, and how its devices stand to that."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016_rollout_policies"
down_revision = "0015_version_numbers"
branch_labels = None
depends_on = None

ROLLOUT = ("shadow", "window", "site_atomic", "timeout_s")
EXECUTION = ("held", "released_at", "shadow", "by_hand")


def upgrade() -> None:
    rollout: tuple[sa.Column[Any], ...] = (
        sa.Column("shadow", sa.JSON(), nullable=True),
        sa.Column("window", sa.JSON(), nullable=True),
        sa.Column("site_atomic", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("timeout_s", sa.Float(), nullable=True),
    )
    execution: tuple[sa.Column[Any], ...] = (
        sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("released_at", sa.Float(), nullable=True),
        sa.Column("shadow", sa.String(), nullable=False, server_default=""),
        sa.Column("by_hand", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    for table, columns in (("rollout", rollout), ("execution", execution)):
        for column in columns:
            op.add_column(table, column)


def downgrade() -> None:
    for table, names in (("execution", EXECUTION), ("rollout", ROLLOUT)):
        for name in reversed(names):
            op.drop_column(table, name)
