"""Training jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_training"
down_revision = "0007_registry"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "training_job",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("model", sa.String(), sa.ForeignKey("model.name"), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("dataset_version", sa.Integer(), nullable=False),
        sa.Column("weights", sa.String(), nullable=False),
        sa.Column("parent_version", sa.Integer(), nullable=True),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("log", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("training_ended_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
    )
    op.create_index("ix_training_job_created_at", "training_job", ["created_at"])
    op.create_index("ix_training_job_model", "training_job", ["model"])
    op.create_index("ix_training_job_state", "training_job", ["state"])


def downgrade() -> None:
    op.drop_table("training_job")
