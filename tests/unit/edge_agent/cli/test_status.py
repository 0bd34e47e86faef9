"""`argosy-agent status` on a narrow terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from edge_agent.cli.status import tables


def test_the_history_reads_well_at_80_columns() -> None:
    passage = {"at": 1.0e9, "state": "WAITING_WINDOW", "reason": "its window opens [/x]"}
    attempt = {
        "attempt": 1,
        "bundle_digest": "c" * 64,
        "model": "caps",
        "model_version": 3,
        "passages": [passage],
        "figures": {f"golden_confidence_error_max_{n}": 0.0123 for n in range(6)},
    }
    status: dict[str, Any] = {
        "device": "box-1",
        "data_dir": "data",
        "agent_running": False,
        "slots": {},
        "cameras": {},
        "live": None,
        "bundles": None,
        "outbox": None,
        "history": {"caps": [attempt]},
    }
    console = Console(width=80, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(tables(status))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    assert "caps: 1 of cccccccccccc, caps v3" in lines
    assert "  2001-09-09 01:46:40 UTC  WAITING_WINDOW  its window opens [/x]" in lines
    figures = [line for line in lines if "golden confidence" in line]
    assert len(figures) == 3, "two figures of 40 characters fit into a line"
