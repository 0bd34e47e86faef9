"""Annotation tasks and their revisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_annotation"
down_revision = "0004_telemetry"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "annotation_task",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("sample_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("camera", sa.String(), nullable=False),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("frame_id", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("class_names", sa.JSON(), nullable=False),
        sa.Column("predictions", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("selection_probability", sa.Float(), nullable=False),
        sa.Column("captured_at", sa.Float(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("boxes", sa.JSON(), nullable=True),
        sa.Column("annotated_by", sa.String(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.UniqueConstraint("sample_id"),
    )
    op.create_index("ix_annotation_task_camera", "annotation_task", ["camera"])
    op.create_index("ix_annotation_task_device_id", "annotation_task", ["device_id"])
    op.create_index("ix_annotation_task_image_sha256", "annotation_task", ["image_sha256"])
    op.create_index("ix_annotation_task_state", "annotation_task", ["state"])
    op.create_table(
        "annotation_revision",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("task_id", sa.Integer(), sa.ForeignKey("annotation_task.id"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("boxes", sa.JSON(), nullable=True),
    )
    op.create_index("ix_annotation_revision_task_id", "annotation_revision", ["task_id"])


def downgrade() -> None:
    op.drop_table("annotation_revision")
    op.drop_table("annotation_task")
