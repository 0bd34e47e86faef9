"""Evaluations of builds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_evaluation"
down_revision = "0011_registry_history"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "evaluation",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("build", sa.String(), sa.ForeignKey("build.digest"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("dataset_digest", sa.String(), nullable=False),
        sa.Column("images_sha256", sa.String(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("predictions_sha256", sa.String(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.UniqueConstraint("build", "kind", "images_sha256"),
    )
    op.create_index("ix_evaluation_build", "evaluation", ["build"])


def downgrade() -> None:
    op.drop_table("evaluation")
