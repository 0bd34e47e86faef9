"""What has been mirrored to an MLflow server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014_tracking"
down_revision = "0013_promotion"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tracked_version",
        sa.Column("version_id", sa.Integer(), primary_key=True),
        sa.Column("server", sa.String(), primary_key=True),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("model_version", sa.String(), nullable=True),
        sa.Column("content_sha256", sa.String(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("tracked_version")
