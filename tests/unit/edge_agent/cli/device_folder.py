"""A device's folder as the commands of people at the device find it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from edge_agent.__main__ import app
from edge_agent.store import StateFile, Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.states import (
    Committed,
    Outcome,
    UpdateRecord,
    committed_name,
    moved,
    opened,
)
from protocol.messages import SlotDesired
from protocol.states import ExecutionEvent
from tests.fixtures.models import write_bundle

CONFIG = """
device = { id = "box-1", data_dir = "data" }
hub = { url = "http://127.0.0.1:9", token = "t" }
mqtt = { host = "127.0.0.1", port = 9 }
cameras = [
  { id = "cam", source = "rtsp://127.0.0.1:9/", slot = "tiny" },
  { id = "two", source = "rtsp://127.0.0.1:9/", slot = "other" },
]
"""
E = ExecutionEvent


@contextmanager
def opened_store(config: Path) -> Iterator[Store]:
    store = Store(config.parent / "data")
    store.open()
    try:
        yield store
    finally:
        store.close()


def invoke(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "300"})
    assert result.exit_code == exit_code, result.output
    return result.output


def told(*arguments: object, exit_code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*(str(a) for a in arguments), "--json"])
    assert result.exit_code == exit_code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def place(store: Store, version: int) -> str:
    """A bundle that lies in the store; its digest."""
    made = store.data_dir / f"made-{version}"
    digest, _ = write_bundle(made, version=version)
    made.rename(BundleStore(store.bundles).path(digest))
    return digest


def served_two(store: Store) -> tuple[str, str]:
    """The slot's committed bundle (version 2) and the one before (version 1)."""
    old, new = place(store, 1), place(store, 2)
    store.save(committed_name("tiny"), Committed(digest=new, previous_digest=old))
    return new, old


def attempt(*events: ExecutionEvent, previous: str | None, **fields: Any) -> UpdateRecord:
    desired = SlotDesired.model_validate(
        {
            "bundle_digest": "c" * 64,
            "manifest_bytes": 9,
            "model": "tiny",
            "version": 3,
            "rollout_id": "r",
            **fields,
        }
    )
    record = opened("tiny", desired, previous, 0, 1.0e9)
    for event in events:
        record = moved(record, event, Outcome(), 1.0e9, 5.0)
    return record


def state(config: Path, name: str, model: type[StateFile]) -> Any:
    return Store(config.parent / "data").load(name, model)


def to_prepared() -> tuple[ExecutionEvent, ...]:
    fetched = (E.DOWNLOAD_STARTED, E.DOWNLOAD_FINISHED, E.VERIFY_PASSED)
    return (*fetched, E.PROOF_STARTED, E.PREPARE_FINISHED)
