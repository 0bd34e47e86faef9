"""What a device's folder and its running agent say of it, for `argosy-agent status`.

The folder alone is enough; what only a running agent knows is None without one.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from edge_agent.config import AgentConfig
from edge_agent.local.client import live_status
from edge_agent.report import ReportedState, SessionState
from edge_agent.store import Store
from edge_agent.update.states import Committed, UpdateRecord, committed_name, record_name

MIB = 1024 * 1024


def read_status(config: AgentConfig) -> dict[str, Any]:
    """Slots with what they serve and their last attempt, cameras, counters, whether an agent
    runs now, and as `live` what that one says of itself. Unknown is None.

    What is served only the running agent knows: the folder says what was committed, which a
    device that lacks the runtime for it does not serve."""
    store = Store(config.device.data_dir)
    last = store.load("reported", ReportedState)
    session = store.load("session", SessionState)
    reported = None if last is None else last.reported.model_dump(mode="json")
    runs = _held(config.device.data_dir / "lock")
    live = live_status(config.device.data_dir)
    if live is not None and live.get("device") != config.device.id:
        live = None
    return {
        "device": config.device.id,
        "data_dir": str(config.device.data_dir),
        "agent_running": runs,
        "session_epoch": None if session is None else session.epoch,
        "slots": {name: _slot(store, name, live) for name in config.slots},
        "cameras": None if reported is None else _cameras(reported, runs),
        "counters": None if reported is None else reported["counters"],
        "reported_at": None if reported is None else reported["reported_at"],
        "live": live,
    }


def tables(status: dict[str, Any]) -> Group:
    """The same for people."""
    running = "runs" if status["agent_running"] else "does not run"
    parts: list[RenderableType] = [
        f"{status['device']}: the agent {running} ({status['data_dir']})",
        _slot_table(status["slots"]),
    ]
    live = status["live"]
    cameras = live["cameras"] if live is not None else status["cameras"]
    if cameras:
        parts.append(_camera_table(cameras))
    if live is not None:
        parts.append(_load(live["health"]))
        problems = live["channel_problems"]
        parts += [
            _output(name, counters, problems.get(name))
            for name, counters in live["channels"].items()
        ]
        parts += [
            f"rule {name} lacks {', '.join(classes)}: no model has it"
            for name, classes in live["lost_classes"].items()
        ]
    return Group(*parts)


def _output(name: str, counters: dict[str, int], problem: str | None) -> str:
    counts = ", ".join(f"{count} {what}" for what, count in counters.items())
    return f"output {name}: {counts}" + (f"; DOWN: {problem}" if problem else "")


def _slot_table(slots: dict[str, Any]) -> Table:
    table = Table("slot", "serves", "last attempt")
    for name, slot in slots.items():
        attempt = slot["attempt"]
        told = "none"
        if attempt is not None:
            why = f": {attempt['reason']}" if attempt["reason"] else ""
            digest = attempt["bundle_digest"][:12]
            told = f"{attempt['attempt']} of {digest}: {attempt['state']}{why}"
        table.add_row(name, _served(slot), told)
    return table


def _served(slot: dict[str, Any]) -> str:
    serves, committed = slot["serves"], slot["committed"]
    told = serves[:12] if serves else f"committed {committed[:12]}" if committed else "nothing"
    return f"{told}: {slot['error']}" if slot["error"] else told


def _camera_table(cameras: dict[str, Any]) -> Table:
    table = Table("camera", "state", "results/s", "inference", "dropped", "why")
    for name, camera in cameras.items():
        dropped = (camera.get("dropped") or {}).items()
        table.add_row(
            name,
            camera["state"] or "unknown",
            _figure(camera.get("results_per_s")),
            _figure(camera.get("latency_ms"), " ms"),
            ", ".join(f"{frames} {cause}" for cause, frames in dropped),
            camera.get("detail") or "",
        )
    return table


def _load(health: dict[str, Any]) -> str:
    rss, gpu_bytes = health["rss_bytes"], health["gpu_memory_used_bytes"]
    told = {
        "processor": _figure(health["cpu_percent"], " %"),
        "memory": _figure(None if rss is None else rss / MIB, " MiB"),
        "temperature": _figure(health["temperature_c"], " C"),
        "GPU": _figure(health["gpu_percent"], " %"),
        "GPU memory": _figure(None if gpu_bytes is None else gpu_bytes / MIB, " MiB"),
        "GPU temperature": _figure(health["gpu_temperature_c"], " C"),
    }
    return ", ".join(f"{name} {figure}" for name, figure in told.items())


def _figure(value: float | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:.1f}{unit}"


def _slot(store: Store, name: str, live: dict[str, Any] | None) -> dict[str, Any]:
    committed = store.load(committed_name(name), Committed)
    record = store.load(record_name(name), UpdateRecord)
    seen = {} if live is None else live["slots"].get(name, {})
    return {
        "serves": seen.get("digest"),
        "committed": None if committed is None else committed.digest,
        "served_before": None if committed is None else committed.previous_digest,
        "error": seen.get("error"),
        "attempt": None if record is None else record.report().model_dump(mode="json"),
    }


def _cameras(reported: dict[str, Any], runs: bool) -> dict[str, Any]:
    """The cameras of the last report; how they were then says nothing of a stopped agent's."""
    if runs:
        return dict(reported["cameras"])
    at = reported["reported_at"]
    return {
        name: camera
        | {"state": None, "fps": None, "detail": ""}
        | {"last_known": {k: camera[k] for k in ("state", "fps", "detail")} | {"reported_at": at}}
        for name, camera in reported["cameras"].items()
    }


def _held(lock: Path) -> bool:
    """Whether an agent holds the folder's lock."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
