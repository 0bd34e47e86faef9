"""What a device's folder says of it, for `argosy-agent status`; needs no running agent."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

from edge_agent.config import AgentConfig
from edge_agent.report import ReportedState, SessionState
from edge_agent.store import Store
from edge_agent.update.states import Committed, UpdateRecord, committed_name, record_name


def read_status(config: AgentConfig) -> dict[str, Any]:
    """Slots with what they serve and their last attempt, cameras, counters, and whether
    an agent runs now. Unknown is None."""
    store = Store(config.device.data_dir)
    last = store.load("reported", ReportedState)
    session = store.load("session", SessionState)
    reported = None if last is None else last.reported.model_dump(mode="json")
    return {
        "device": config.device.id,
        "data_dir": str(config.device.data_dir),
        "agent_running": _held(config.device.data_dir / "lock"),
        "session_epoch": None if session is None else session.epoch,
        "slots": {name: _slot(store, name) for name in config.slots},
        "cameras": None if reported is None else reported["cameras"],
        "counters": None if reported is None else reported["counters"],
        "reported_at": None if reported is None else reported["reported_at"],
    }


def lines(status: dict[str, Any]) -> list[str]:
    """The same for people."""
    running = "runs" if status["agent_running"] else "does not run"
    found = [f"{status['device']}: the agent {running} ({status['data_dir']})"]
    for name, slot in status["slots"].items():
        serves = (slot["serves"] or "nothing")[:12]
        found.append(f"  slot {name} serves {serves}")
        if slot["attempt"] is not None:
            attempt = slot["attempt"]
            why = f": {attempt['reason']}" if attempt["reason"] else ""
            digest = attempt["bundle_digest"][:12]
            found.append(f"    attempt {attempt['attempt']} of {digest}: {attempt['state']}{why}")
    for name, camera in (status["cameras"] or {}).items():
        why = f": {camera['detail']}" if camera.get("detail") else ""
        found.append(f"  camera {name} {camera['state']}{why}")
    return found


def _slot(store: Store, name: str) -> dict[str, Any]:
    committed = store.load(committed_name(name), Committed)
    record = store.load(record_name(name), UpdateRecord)
    return {
        "serves": None if committed is None else committed.digest,
        "served_before": None if committed is None else committed.previous_digest,
        "attempt": None if record is None else record.report().model_dump(mode="json"),
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
