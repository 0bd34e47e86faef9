"""Evidence of promotion gates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013_promotion"
down_revision = "0012_evaluation"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "evidence",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("model", sa.String(), sa.ForeignKey("model.name"), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("candidate", sa.Integer(), nullable=False),
        sa.Column("incumbent", sa.Integer(), nullable=True),
        sa.Column("candidate_build", sa.String(), nullable=False),
        sa.Column("incumbent_build", sa.String(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("record_sha256", sa.String(), nullable=False),
        sa.Column("page_sha256", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
    )
    op.create_index("ix_evidence_model", "evidence", ["model"])


def downgrade() -> None:
    op.drop_table("evidence")
