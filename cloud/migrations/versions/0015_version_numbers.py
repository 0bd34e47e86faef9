"""How many numbers of versions a model has given out, so that none is given out again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015_version_numbers"
down_revision = "0014_tracking"
branch_labels = None
depends_on = None

NUMBERED = ("model_version", "promotion", "deployment")


def upgrade() -> None:
    op.add_column(
        "model", sa.Column("numbers_used", sa.Integer(), nullable=False, server_default="0")
    )
    used: dict[str, int] = {}
    for name, number in [*_numbered(), *_noted()]:
        used[name] = max(used.get(name, 0), number)
    model = sa.table("model", sa.column("name"), sa.column("numbers_used"))
    for name, number in used.items():
        op.get_bind().execute(
            sa.update(model).where(model.c.name == name).values(numbers_used=number)
        )


def _numbered() -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for table in NUMBERED:
        rows = sa.table(table, sa.column("model"), sa.column("number"))
        query = sa.select(rows.c.model, sa.func.max(rows.c.number)).group_by(rows.c.model)
        found += [(name, number) for name, number in op.get_bind().execute(query) if number]
    return found


def _noted() -> list[tuple[str, int]]:
    """From notes about `model/NAME/NUMBER`: a deleted version may have left nothing else."""
    rows = sa.table("note", sa.column("subject"))
    query = sa.select(rows.c.subject).where(rows.c.subject.like("model/%/%"))
    parts = [subject.split("/") for subject in op.get_bind().execute(query).scalars()]
    return [(name, int(number)) for _, name, number in parts]


def downgrade() -> None:
    op.drop_column("model", "numbers_used")
