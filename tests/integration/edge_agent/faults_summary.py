"""What the fault table came to: `python -m tests.integration.edge_agent.faults_summary`."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPORT = Path("build/fault-table.json")


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts over all cases, and how long a device took to serve after a start (s)."""
    serving = sorted(seconds for row in rows for seconds in row["serving_s"])
    return {
        "cases": len(rows),
        "kills": sum(row["kills"] for row in rows),
        "unproven_served": sum(row["unproven"] for row in rows),
        "stuck": sum(row["stuck"] for row in rows),
        "lost": sum(row["lost"] for row in rows),
        "told_twice": sum(row["twice"] for row in rows),
        "failed": [row["name"] for row in rows if row["problems"]],
        "serving_s_median": round(statistics.median(serving), 2) if serving else None,
        "serving_s_max": serving[-1] if serving else None,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """States down, faults across; where a case ended, and ! where something was wrong."""
    names = [row["name"].partition("-") for row in rows]
    faults = list(dict.fromkeys(fault for _, _, fault in names))
    cells = dict(zip(names, rows, strict=True))
    lines = []
    for state in dict.fromkeys(state for state, _, _ in names):
        found = [cells.get((state, "-", fault)) for fault in faults]
        marks = ("-" if row is None else _mark(row) for row in found)
        lines.append(f"{state:15}" + "".join(f"{mark:17}" for mark in marks))
    return "\n".join([" " * 15 + "".join(f"{fault:17}" for fault in faults), *lines])


def _mark(row: dict[str, Any]) -> str:
    return ("! " if row["problems"] else "") + (row["final"] or "nothing")


def main() -> int:
    """Print the table that was written last; 1 where a case failed."""
    report = json.loads(REPORT.read_text())
    rows = report.pop("rows")
    print(table(rows))  # noqa: T201 - a command's output
    print(json.dumps(report, indent=2))  # noqa: T201 - a command's output
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
