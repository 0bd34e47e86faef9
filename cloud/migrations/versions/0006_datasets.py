"""Datasets, versions, imports."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_datasets"
down_revision = "0005_annotation"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dataset",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("golden_frames_released", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
    )
    op.create_table(
        "dataset_version",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("dataset", sa.String(), sa.ForeignKey("dataset.name"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("class_names", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("left_out", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.UniqueConstraint("dataset", "number"),
    )
    op.create_index("ix_dataset_version_dataset", "dataset_version", ["dataset"])
    op.create_index("ix_dataset_version_digest", "dataset_version", ["digest"])
    op.create_table(
        "dataset_import",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("golden_frames_released", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("images_done", sa.Integer(), nullable=False),
        sa.Column("images_total", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
    )
    op.create_index("ix_dataset_import_dataset", "dataset_import", ["dataset"])
    op.create_index("ix_dataset_import_state", "dataset_import", ["state"])


def downgrade() -> None:
    op.drop_table("dataset_import")
    op.drop_table("dataset_version")
    op.drop_table("dataset")
