"""Floors, verdicts, aliases, artefacts, and the registry's append-only history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011_registry_history"
down_revision = "0010_jobs"
branch_labels = None
depends_on = None

APPEND_ONLY = ("promotion", "deployment", "note")


def upgrade() -> None:
    _columns()
    op.create_table(
        "model_alias",
        sa.Column("model", sa.String(), sa.ForeignKey("model.name"), primary_key=True),
        sa.Column("alias", sa.String(), primary_key=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("set_at", sa.Float(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
    )
    _history()
    op.create_table(
        "artefact",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("version_id", sa.Integer(), sa.ForeignKey("model_version.id"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.UniqueConstraint("version_id", "name"),
    )
    op.create_index("ix_artefact_version_id", "artefact", ["version_id"])
    if op.get_bind().dialect.name == "sqlite":
        _refuse_changes()


def _columns() -> None:
    empty = sa.text("'{}'")
    op.add_column("model", sa.Column("floor", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("model", sa.Column("policy", sa.JSON(), nullable=False, server_default=empty))
    op.add_column("model", sa.Column("archived_at", sa.Float(), nullable=True))
    for column in (
        sa.Column("weights_format", sa.String(), nullable=False, server_default="pt"),
        sa.Column("source", sa.String(), nullable=False, server_default="training"),
        sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("archived_at", sa.Float(), nullable=True),
    ):
        op.add_column("model_version", column)
    op.add_column("build", sa.Column("verdict", sa.JSON(), nullable=False, server_default=empty))
    op.add_column("build", sa.Column("notes", sa.JSON(), nullable=False, server_default=empty))


def _history() -> None:
    op.create_table(
        "promotion",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("model", sa.String(), sa.ForeignKey("model.name"), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("evidence", sa.String(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
    )
    op.create_index("ix_promotion_model", "promotion", ["model"])
    op.create_table(
        "deployment",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("model", sa.String(), sa.ForeignKey("model.name"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("devices", sa.Integer(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
    )
    op.create_index("ix_deployment_model", "deployment", ["model"])
    op.create_index("ix_deployment_rollout", "deployment", ["rollout"])
    op.create_table(
        "note",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
    )
    op.create_index("ix_note_subject", "note", ["subject"])


def _refuse_changes() -> None:
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def downgrade() -> None:
    for table in ("artefact", "note", "deployment", "promotion", "model_alias"):
        op.drop_table(table)
    for table, columns in (
        ("build", ("verdict", "notes")),
        ("model_version", ("weights_format", "source", "pinned", "archived_at")),
        ("model", ("floor", "policy", "archived_at")),
    ):
        for column in columns:
            op.drop_column(table, column)
