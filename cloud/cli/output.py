"""How commands answer: a table for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cloud.plain_text import shown

ID_COLUMNS = ("id", "digest", "evidence", "job")
ID_CHARACTERS_IN_LINE = 36
"""An id up to so long stays in one line; a longer one goes on in the next."""
ERROR = "error"
"""Cut to what the others leave of one line; what it is about shows the whole."""

ONE_LINE_COLUMNS = frozenset({"state", "kind", "subject", "verdict", "target", ERROR})
NAMES_SHOWN = 4
"""Of a model's classes; there may be thousands."""


def print_json(value: Any) -> None:
    """`value` as indented JSON, nothing else, on standard output."""
    Console(soft_wrap=True, highlight=False, markup=False).print(json.dumps(value, indent=2))


def print_table(
    rows: Iterable[dict[str, Any]], columns: Sequence[str], *, as_json: bool = False
) -> None:
    """The `columns` of `rows` as a table; whole rows where JSON is asked for."""
    rows = list(rows)
    if as_json:
        print_json(rows)
        return
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    longest = {
        column: max(len(_cell(column, row.get(column))) for row in [{column: column}, *rows])
        for column in columns
    }
    console = Console()
    rest = console.width - sum(longest[c] + 2 for c in columns if c != ERROR)
    for column in columns:
        # What is typed into the next command is never cut short; the other columns give way.
        is_id = column in ID_COLUMNS
        table.add_column(
            column.replace("_", " "),
            no_wrap=column in ONE_LINE_COLUMNS
            or (is_id and longest[column] <= ID_CHARACTERS_IN_LINE),
            overflow="fold" if is_id else "ellipsis",
            max_width=max(len(ERROR), rest - 1) if column == ERROR else None,
        )
    for row in rows:
        table.add_row(*(_cell(column, row.get(column)) for column in columns))
    console.print(table)


def print_fields(row: dict[str, Any], *, as_json: bool = False) -> None:
    """One thing, a line per field."""
    if as_json:
        print_json(row)
        return
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in row.items():
        table.add_row(f"[bold]{shown(name.replace('_', ' '))}[/bold]", _cell(name, value))
    Console().print(table)


def _cell(column: str, value: Any) -> str:
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, float) and (column.endswith("_at") or column in {"at", "last_seen"}):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    if isinstance(value, dict):
        return ", ".join(f"{shown(str(k))}={_cell(k, v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        many = column == "class_names" and len(value) > NAMES_SHOWN
        said = ", ".join(_cell("", item) for item in (value[:NAMES_SHOWN] if many else value))
        return f"{len(value)}: {said}, …" if many else said
    if isinstance(value, float):
        return f"{value:.4g}"
    text = shown(str(value))
    is_digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:12] if is_digest else text
