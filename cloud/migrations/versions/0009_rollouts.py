"""Rollouts, executions, leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_rollouts"
down_revision = "0008_training"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rollout",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("builds", sa.JSON(), nullable=False),
        sa.Column("selector", sa.JSON(), nullable=False),
        sa.Column("waves", sa.JSON(), nullable=False),
        sa.Column("soak_s", sa.Float(), nullable=False),
        sa.Column("success_percent", sa.Float(), nullable=False),
        sa.Column("failed_max", sa.Integer(), nullable=False),
        sa.Column("probation_s", sa.Float(), nullable=False),
        sa.Column("step_timeout_s", sa.Float(), nullable=False),
        sa.Column("total_timeout_s", sa.Float(), nullable=False),
        sa.Column("attempts_max", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("watched", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
    )
    for column in ("model", "watched", "created_at"):
        op.create_index(f"ix_rollout_{column}", "rollout", [column])
    op.create_table(
        "execution",
        sa.Column("rollout_id", sa.String(), sa.ForeignKey("rollout.id"), primary_key=True),
        sa.Column("device_id", sa.String(), sa.ForeignKey("device.id"), primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("step_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("device_ended_at", sa.Float(), nullable=True),
        sa.Column("acknowledged", sa.Boolean(), nullable=False),
        sa.Column("diverged", sa.Boolean(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
    )
    op.create_index("ix_execution_device_id", "execution", ["device_id"])
    op.create_table(
        "lease",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("lease")
    op.drop_table("execution")
    op.drop_table("rollout")
