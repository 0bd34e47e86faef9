"""A rollout's rules as one document; gates, journal, pins, groups, and what changed of devices."""

from __future__ import annotations

import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017_rollout_spec"
down_revision = "0016_rollout_policies"
branch_labels = None
depends_on = None

PLAIN: tuple[str, ...] = (
    "soak_s",
    "success_percent",
    "failed_max",
    "probation_s",
    "step_timeout_s",
)
PLAIN += ("total_timeout_s", "attempts_max", "site_atomic", "timeout_s")
DOCUMENTS = ("shadow", "window", "waves", "selector")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/:@+-]*")
EXECUTION = ("exchanged_at", "reverts", "figures", "boots")
ROLLOUT = ("spec", "priority", "asks", "approved_waves", "reverting", "revision")


def upgrade() -> None:
    none, empty, false = sa.text("'{}'"), sa.text("'[]'"), sa.false()
    _add(
        "rollout",
        sa.Column("spec", sa.JSON(), nullable=False, server_default=none),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("asks", sa.String(), nullable=True),
        sa.Column("approved_waves", sa.JSON(), nullable=False, server_default=empty),
        sa.Column("reverting", sa.Boolean(), nullable=False, server_default=false),
        sa.Column("revision", sa.Integer(), nullable=False, server_default="0"),
    )
    _add(
        "execution",
        sa.Column("exchanged_at", sa.Float(), nullable=True),
        sa.Column("reverts", sa.Boolean(), nullable=False, server_default=false),
        sa.Column("figures", sa.JSON(), nullable=False, server_default=none),
        sa.Column("boots", sa.Integer(), nullable=False, server_default="0"),
    )
    _add("device", sa.Column("boots", sa.Integer(), nullable=False, server_default="0"))
    _gather_specs()
    for name in (*PLAIN, *DOCUMENTS):
        op.drop_column("rollout", name)
    _create_tables()


def _add(table: str, *columns: sa.Column[Any]) -> None:
    for column in columns:
        op.add_column(table, column)


def _gather_specs() -> None:
    """What stood in columns becomes the document."""
    connection = op.get_bind()
    names = ", ".join(f'"{name}"' for name in ("id", "state", *PLAIN, *DOCUMENTS))
    for row in connection.execute(sa.text(f"SELECT {names} FROM rollout")).mappings().all():  # noqa: S608
        documents = {name: _read(row[name]) for name in DOCUMENTS}
        spec = {name: row[name] for name in PLAIN}
        spec["site_atomic"] = bool(spec["site_atomic"])
        spec |= {name: documents[name] for name in ("shadow", "window")}
        spec["devices"] = (documents["selector"] or {}).get("devices")
        spec["selector"] = _selector(documents["selector"] or {})
        spec["waves"] = [_wave(wave, connection, row["id"], n) for n, wave in
                         enumerate(documents["waves"] or [])]  # fmt: skip
        asks = "APPROVAL" if row["state"] == "WAITING_FOR_APPROVAL" else None
        connection.execute(
            sa.text("UPDATE rollout SET spec = :spec, asks = :asks WHERE id = :id"),
            {"spec": json.dumps(spec), "asks": asks, "id": row["id"]},
        )


def _read(value: Any) -> Any:
    """A JSON column's value; PostgreSQL's driver has read it already."""
    return json.loads(value) if isinstance(value, str) else value


def _selector(old: dict[str, Any]) -> str:
    labels = old.get("labels") or {}
    parts = [f"{_word(key)}={_word(value)}" for key, value in labels.items()]
    if old.get("sites"):
        parts.append(f"site in ({','.join(map(_word, old['sites']))})")
    return ",".join(parts)


def _word(text: str) -> str:
    """As selectors write it."""
    if _PLAIN_WORD.fullmatch(text) and text not in ("in", "notin"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _wave(old: dict[str, Any], connection: sa.Connection, rollout: str, number: int) -> Any:
    if old.get("labels"):
        return {"selector": _selector(old)}
    if old:
        return old
    query = "SELECT count(DISTINCT device_id) FROM execution WHERE rollout_id = :r AND wave = :w"
    count = connection.execute(sa.text(query), {"r": rollout, "w": number}).scalar() or 1
    return {"count": count}


def _create_tables() -> None:
    op.create_table(
        "rollout_gate",
        sa.Column("rollout_id", sa.String(), sa.ForeignKey("rollout.id"), primary_key=True),
        sa.Column("wave", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("look", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("answered_by", sa.String(), nullable=True),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.Column("remark", sa.String(), nullable=False),
    )
    op.create_table(
        "rollout_entry",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("rollout_id", sa.String(), sa.ForeignKey("rollout.id"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("wave", sa.Integer(), nullable=True),
        sa.Column("device_id", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
    )
    op.create_index("ix_rollout_entry_rollout_id", "rollout_entry", ["rollout_id"])
    op.create_table(
        "device_pin",
        sa.Column("device_id", sa.String(), sa.ForeignKey("device.id"), primary_key=True),
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("remark", sa.String(), nullable=False),
    )
    op.create_table(
        "device_group",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("selector", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
    )
    op.create_table(
        "device_change",
        sa.Column("device_id", sa.String(), sa.ForeignKey("device.id"), primary_key=True),
        sa.Column("number", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    for table in ("device_change", "device_group", "device_pin", "rollout_entry", "rollout_gate"):
        op.drop_table(table)
    op.drop_column("device", "boots")
    for name in EXECUTION:
        op.drop_column("execution", name)
    none, empty = sa.text("'{}'"), sa.text("'[]'")
    _add(
        "rollout",
        sa.Column("selector", sa.JSON(), nullable=False, server_default=none),
        sa.Column("waves", sa.JSON(), nullable=False, server_default=empty),
        sa.Column("soak_s", sa.Float(), nullable=False, server_default="0"),
        sa.Column("success_percent", sa.Float(), nullable=False, server_default="100"),
        sa.Column("failed_max", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("probation_s", sa.Float(), nullable=False, server_default="10"),
        sa.Column("step_timeout_s", sa.Float(), nullable=False, server_default="900"),
        sa.Column("total_timeout_s", sa.Float(), nullable=False, server_default="3600"),
        sa.Column("attempts_max", sa.Integer(), nullable=False, server_default="3"),
        sa.Column("shadow", sa.JSON(), nullable=True),
        sa.Column("window", sa.JSON(), nullable=True),
        sa.Column("site_atomic", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("timeout_s", sa.Float(), nullable=True),
    )
    for name in ROLLOUT:
        op.drop_column("rollout", name)
