"""Sites, devices, commands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_fleet"
down_revision = "0002_blobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "site",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "device",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("site", sa.String(), sa.ForeignKey("site.name"), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("presence", sa.String(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=True),
        sa.Column("session_epoch", sa.Integer(), nullable=False),
        sa.Column("last_seen", sa.Float(), nullable=True),
        sa.Column("reported", sa.String(), nullable=True),
        sa.Column("running", sa.JSON(), nullable=False),
        sa.Column("desired", sa.String(), nullable=True),
        sa.Column("desired_generation", sa.Integer(), nullable=False),
    )
    op.create_index("ix_device_site", "device", ["site"])
    op.create_table(
        "device_command",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("device_id", sa.String(), sa.ForeignKey("device.id"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.Column("ok", sa.Boolean(), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
    )
    op.create_index("ix_device_command_device_id", "device_command", ["device_id"])
    op.create_index("ix_device_command_expires_at", "device_command", ["expires_at"])


def downgrade() -> None:
    op.drop_table("device_command")
    op.drop_table("device")
    op.drop_table("site")
