"""How commands answer: a table for people, JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from cloud.plain_text import shown

ID_COLUMNS = ("id", "digest", "evidence", "job")
ID_CHARACTERS_IN_LINE = 36
"""An id up to so long stays in one line; a longer one goes on in the next."""


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
    table = Table(header_style="bold")
    for column in columns:
        # What is typed into the next command is never cut short; the other columns give way.
        is_id = column in ID_COLUMNS
        longest = max((len(_cell(column, row.get(column))) for row in rows), default=0)
        table.add_column(
            column.replace("_", " "),
            no_wrap=is_id and longest <= ID_CHARACTERS_IN_LINE,
            overflow="fold" if is_id else "ellipsis",
        )
    for row in rows:
        table.add_row(*(_cell(column, row.get(column)) for column in columns))
    Console().print(table)


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
        return ", ".join(_cell("", item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    text = shown(str(value))
    is_digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:12] if is_digest else text
