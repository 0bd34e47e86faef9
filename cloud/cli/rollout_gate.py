"""A wave gate's figures on a terminal: each with its interval against its margin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cloud.plain_text import shown

VERDICT_STYLES: Mapping[str, str] = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "INCONCLUSIVE": "bold yellow",
}
FINDING_STYLES: Mapping[str, str] = {
    "HOLDS": "green",
    "HARM": "red",
    "UNSHOWN": "yellow",
    "REPORTED": "bright_black",
}
FINDING_WORDS: Mapping[str, str] = {
    "HOLDS": "as good",
    "HARM": "worse",
    "UNSHOWN": "not known",
    "REPORTED": "",
}
AMOUNTS = ("frames", "detections", "cameras")
"""Kinds that say how much there was to judge by."""
CELLS = 25
MARGIN_CELL = 18
ROWS_MAX = 16


def figure_table(figures: Mapping[str, Any]) -> Table:
    """A row for each figure, those that speak against the build first."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("figure", "", "before", "after", "better ← change → worse", "margin"):
        right = name in ("before", "after", "margin")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "figure")
    components = sorted(figures.get("components") or [], key=_urgency)
    for component in components[:ROWS_MAX]:
        style = FINDING_STYLES.get(component["finding"], "")
        table.add_row(
            shown(component["name"]),
            Text(_words(component), style=style),
            _number(component["before"]),
            _number(component["after"]),
            interval_bar(component),
            _number(component["margin"]),
        )
    if len(components) > ROWS_MAX:
        table.add_row(f"… and {len(components) - ROWS_MAX} more", "", "", "", "", "")
    return table


def interval_bar(component: Mapping[str, Any]) -> Text:
    """The change as a dot, its interval as a line, the margin as a bar: `  ──●──  ┃   `.

    No change is at `┊`, the margin always at the same cell; what lies outside is at the edge.
    """
    shift, margin = component["shift"], component["margin"]
    if shift is None or not margin:
        return Text("")
    zero = CELLS // 2
    step = margin / (MARGIN_CELL - zero)

    def cell(value: float) -> int:
        return int(min(CELLS - 1, max(0, round(zero + value / step))))

    cells = [" "] * CELLS
    cells[zero] = "┊"
    if component["low"] is not None and component["high"] is not None:
        for place in range(cell(component["low"]), cell(component["high"]) + 1):
            cells[place] = "─"
    cells[MARGIN_CELL] = "┃"
    cells[cell(shift)] = "●"
    return Text("".join(cells), style=FINDING_STYLES.get(component["finding"], ""))


def _words(component: Mapping[str, Any]) -> str:
    if component["kind"] in AMOUNTS:
        return "enough" if component["finding"] == "HOLDS" else "too little"
    return FINDING_WORDS.get(component["finding"], str(component["finding"]))


def _urgency(component: Mapping[str, Any]) -> int:
    order = ("HARM", "UNSHOWN", "HOLDS", "REPORTED")
    finding = component["finding"]
    return order.index(finding) if finding in order else len(order)


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"
