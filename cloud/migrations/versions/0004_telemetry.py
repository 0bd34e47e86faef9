"""Windows, events, samples, and the cursors that keep them from being stored twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_telemetry"
down_revision = "0003_fleet"
branch_labels = None
depends_on = None


def _sequenced() -> tuple[sa.Column[str], sa.Column[str], sa.Column[int]]:
    return (
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("epoch", sa.String(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
    )


def upgrade() -> None:
    op.create_table(
        "stream_cursor",
        sa.Column("device_id", sa.String(), primary_key=True),
        sa.Column("stream", sa.String(), primary_key=True),
        sa.Column("epoch", sa.String(), primary_key=True),
        sa.Column("contiguous", sa.Integer(), nullable=False),
        sa.Column("ahead", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "telemetry_window",
        sa.Column("id", sa.Integer(), primary_key=True),
        *_sequenced(),
        sa.Column("camera", sa.String(), nullable=False),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("bundle_digest", sa.String(), nullable=False),
        sa.Column("window_start", sa.Float(), nullable=False),
        sa.Column("window_end", sa.Float(), nullable=False),
        sa.Column("frames_inferred", sa.Integer(), nullable=False),
        sa.Column("served", sa.Integer(), nullable=False),
        sa.Column("served_confidence_sum", sa.Float(), nullable=False),
        sa.Column("payload", sa.String(), nullable=False),
        sa.UniqueConstraint("device_id", "epoch", "sequence"),
    )
    op.create_index("ix_telemetry_window_window_start", "telemetry_window", ["window_start"])
    op.create_index(
        "ix_telemetry_window_camera_start",
        "telemetry_window",
        ["device_id", "camera", "window_start"],
    )
    op.create_table(
        "device_event",
        sa.Column("id", sa.Integer(), primary_key=True),
        *_sequenced(),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("payload", sa.String(), nullable=False),
        sa.UniqueConstraint("device_id", "epoch", "sequence"),
    )
    op.create_index("ix_device_event_at", "device_event", ["at"])
    op.create_index("ix_device_event_kind", "device_event", ["kind"])
    _samples()


def _samples() -> None:
    op.create_table(
        "sample",
        sa.Column("id", sa.String(), primary_key=True),
        *_sequenced(),
        sa.Column("camera", sa.String(), nullable=False),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("bundle_digest", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("selection_probability", sa.Float(), nullable=False),
        sa.Column("uncertainty", sa.Float(), nullable=False),
        sa.Column("frame_id", sa.String(), nullable=False),
        sa.Column("captured_at", sa.Float(), nullable=False),
        sa.Column("payload", sa.String(), nullable=False),
        sa.UniqueConstraint("device_id", "epoch", "sequence"),
    )
    for column in ("camera", "image_sha256", "captured_at"):
        op.create_index(f"ix_sample_{column}", "sample", [column])


def downgrade() -> None:
    for table in ("sample", "device_event", "telemetry_window", "stream_cursor"):
        op.drop_table(table)
