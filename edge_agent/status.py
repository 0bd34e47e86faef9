"""What a device's folder and its running agent say of it, for `argosy-agent status`.

The folder alone is enough; what only a running agent knows is None without one.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

from edge_agent.config import AgentConfig
from edge_agent.link.waiting import outbox_account
from edge_agent.local.client import live_status
from edge_agent.report import ReportedState, SessionState
from edge_agent.store import Store
from edge_agent.update.account import bundles_account, is_revoked, slot_account, slot_history


def read_status(config: AgentConfig, wall: float, *, history: bool = False) -> dict[str, Any]:
    """Slots with what they serve, their attempt and why it waits, cameras, counters, bundles and
    outbox on the disk, whether an agent runs now, and as `live` what that one says of itself.
    Unknown is None; `wall` and all times are Unix time (s).

    What is served only the running agent knows (`seen`: it says so): the folder says what was
    committed, which a device that lacks the runtime for it does not serve."""
    store = Store(config.device.data_dir)
    last = store.load("reported", ReportedState)
    session = store.load("session", SessionState)
    reported = None if last is None else last.reported.model_dump(mode="json")
    runs = agent_runs(config.device.data_dir)
    live = live_status(config.device.data_dir)
    if live is not None and live.get("device") != config.device.id:
        live = None
    found = {
        "device": config.device.id,
        "data_dir": str(config.device.data_dir),
        "agent_running": runs,
        "session_epoch": None if session is None else session.epoch,
        "slots": {name: _slot(store, name, live, reported, wall) for name in config.slots},
        "cameras": None if reported is None else _cameras(reported, runs),
        "counters": None if reported is None else reported["counters"],
        "reported_at": None if reported is None else reported["reported_at"],
        "bundles": bundles_account(store, config.slots),
        "outbox": outbox_account(store.outbox),
        "live": live,
    }
    if history:
        found["history"] = {name: slot_history(store, name) for name in config.slots}
    return found


def _slot(
    store: Store,
    name: str,
    live: dict[str, Any] | None,
    reported: dict[str, Any] | None,
    wall: float,
) -> dict[str, Any]:
    seen = {} if live is None else live["slots"].get(name, {})
    told = {} if reported is None else reported["slots"].get(name, {})
    serves, account = seen.get("digest"), slot_account(store, name, wall)
    of, prefix = (account, "committed_") if not seen else (seen, "")
    return {
        "seen": bool(seen),
        "serves": serves,
        "model": seen.get("model"),
        "version": seen.get("version"),
        "engine": told.get("engine") if serves and told.get("running_digest") == serves else None,
        "error": seen.get("error"),
        "revoked": is_revoked(store, of.get(f"{prefix}model"), of.get(f"{prefix}version")),
        **account,
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


def agent_runs(data_dir: Path) -> bool:
    """Whether an agent holds the folder's lock."""
    try:
        with (data_dir / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
