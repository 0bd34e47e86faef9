"""A rollout's evidence on a terminal: what `argosy rollout report` prints."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from cloud.cli.output import print_table
from cloud.cli.rollout_gate import VERDICT_STYLES, figure_table
from cloud.plain_text import shown

STYLES = {"SUCCEEDED": "bold green", "FAILED": "bold red", "REVERTED": "bold magenta"}
WAVE_COLUMNS = ("wave", "devices", "opened_at", "last_ended_at", "median_s", "states", "gate")
DECISION_COLUMNS = ("at", "by", "kind", "wave", "device", "text")
FAILURE_COLUMNS = ("failed", "attempts", "reason", "for example")
FAILURES_SHOWN = 10
DEVIATION_COLUMNS = ("kind", "count", "means", "first")


def print_report(record: dict[str, Any]) -> None:
    """The record in short; `--json` and `--out` have all of it."""
    console = Console(highlight=False, soft_wrap=True)
    what, who, outcome = record["what"], record["who"], record["outcome"]
    head = Text(record["verdict"].replace("_", " "), style=STYLES.get(record["verdict"], "bold"))
    said = f"  {shown(record['name'])}: {what['model']} v{what['version']}, by {who['created_by']}"
    head.append(said, style="not bold default")
    console.print(head)
    if outcome["reason"]:
        console.print(Text(shown(outcome["reason"])))
    counts = f"{outcome['have_it']} of {outcome['devices']} devices have the build"
    if outcome["taken_back"]:
        counts += f"; {outcome['reverted']} are back at what they had"
        counts += f", {outcome['not_reverted']} are not"
    if outcome["moved_on"]:
        counts += f"; {outcome['moved_on']} have something else by now"
    console.print(counts)
    print_table(map(_wave_row, record["waves"]), WAVE_COLUMNS)
    for look in _last_looks(record):
        style = VERDICT_STYLES.get(look["verdict"], "")
        line = Text(f"gate of wave {look['wave'] + 1}: ")
        line.append(look["verdict"], style=style).append(f"  {shown(look['reason'])}")
        console.print(line)
        console.print(figure_table(look["figures"]))
    failed = record["metrics"]["failures"] + record["metrics"]["failures_on_the_way_back"]
    if failed:
        print_table(map(_failure_row, failed[:FAILURES_SHOWN]), FAILURE_COLUMNS)
    if record["deviations"]:
        rows = [_deviation_row(kind, found) for kind, found in record["deviations"].items()]
        print_table(rows, DEVIATION_COLUMNS)
    print_table(map(_decision_row, who["decisions"]), DECISION_COLUMNS)
    console.print(f"`argosy rollout report {record['id']} --out FILE.html` draws all of it")


def _last_looks(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The last look of each wave, with the figures that it rests on."""
    figures = {(look["wave"], look["look"]): look["figures"] for look in record["gates"]}
    last = {look["wave"]: look for look in record["gates"]}
    return [
        {**look, "figures": figures[wave, look["figures_of"]] or {}} for wave, look in last.items()
    ]


def _wave_row(wave: dict[str, Any]) -> dict[str, Any]:
    let_go = f", let go by {wave['let_go_by']}" if wave["let_go_by"] else ""
    return {
        **wave,
        "wave": wave["wave"] + 1,
        "median_s": wave["durations"]["median_s"],
        "states": {**wave["states"], **wave["way_back"]},
        "gate": f"{wave['gate'] or '-'}{let_go}",
    }


def _failure_row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "failed": row["kind"], "for example": ", ".join(row["devices"])}


def _deviation_row(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    first = found["items"][0]
    who = first["device"] or first["by"] or "-"
    return {
        "kind": kind.replace("_", " "),
        "count": found["count"],
        "means": found["means"],
        "first": f"{who}: {first['reason']}" if first["reason"] else who,
    }


def _decision_row(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "wave": None if entry["wave"] is None else entry["wave"] + 1}
