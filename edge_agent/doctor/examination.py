"""All checks, one after the other; one that fails by itself is a finding too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from edge_agent.config import ConfigError, load_config
from edge_agent.doctor import (
    broker,
    cameras,
    clock,
    configuration,
    data_folder,
    disk,
    gpu,
    gstreamer,
    hub,
    outputs,
    packages,
    pages,
    python,
    runtimes,
)
from edge_agent.doctor.finding import Box, Finding, Verdict, problem
from edge_agent.local.client import live_status

Check = Callable[[Box], Iterable[Finding]]

CHECKS: dict[str, Check] = {
    "python": python.check,
    "packages": packages.check,
    "configuration": configuration.check,
    "data folder": data_folder.check,
    "disk": disk.check,
    "clock": clock.check,
    "runtimes": runtimes.check,
    "gpu": gpu.check,
    "opencv": gstreamer.check,
    "outputs": outputs.check,
    "local pages": pages.check,
    "cameras": cameras.check,
    "hub": hub.check,
    "broker": broker.check,
}
ELSEWHERE = frozenset({"cameras", "hub", "broker"})
"""The checks that look beyond this box."""

MARKS = {Verdict.OK: "ok", Verdict.ADVICE: "advice", Verdict.PROBLEM: "PROBLEM"}


def examine(
    config_path: Path, *, offline: bool = False, checks: Mapping[str, Check] = CHECKS
) -> dict[str, Any]:
    """Run the checks; `offline` leaves out those that look beyond this box."""
    box = _box(config_path)
    findings = [
        {"check": name, "verdict": found.verdict.value, "text": found.text, "remedy": found.remedy}
        for name, check in checks.items()
        if not (offline and name in ELSEWHERE)
        for found in _run(check, box)
    ]
    healthy = all(found["verdict"] != Verdict.PROBLEM.value for found in findings)
    return {"healthy": healthy, "findings": findings}


def table(found: dict[str, Any]) -> Table:
    """The same for people."""
    made = Table("check", "")
    made.add_column("found", overflow="fold")
    made.add_column("what to do", overflow="fold")
    for finding in found["findings"]:
        mark = MARKS[Verdict(finding["verdict"])]
        made.add_row(finding["check"], mark, finding["text"], finding["remedy"])
    return made


def _box(config_path: Path) -> Box:
    try:
        config = load_config(config_path)
    except ConfigError as error:
        return Box(config_path, config_error=str(error))
    return Box(config_path, config, live=live_status(config.device.data_dir))


def _run(check: Check, box: Box) -> list[Finding]:
    try:
        return list(check(box))
    except Exception as error:  # noqa: BLE001 - a part of the box that breaks its check is broken
        told = f"the check itself failed: {type(error).__name__}: {error}"
        return [problem(told, "report this with the output of `argosy-agent doctor --json`")]
