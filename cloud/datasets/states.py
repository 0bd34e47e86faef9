"""How an import moves."""

from __future__ import annotations

from enum import Enum


class ImportState(str, Enum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class ImportEvent(str, Enum):
    STARTED = "started"
    REGISTERED = "registered"
    ERROR = "error"


IMPORT_TABLE: dict[tuple[ImportState, ImportEvent], ImportState] = {
    (ImportState.QUEUED, ImportEvent.STARTED): ImportState.RUNNING,
    (ImportState.QUEUED, ImportEvent.ERROR): ImportState.FAILED,
    (ImportState.RUNNING, ImportEvent.REGISTERED): ImportState.SUCCEEDED,
    (ImportState.RUNNING, ImportEvent.ERROR): ImportState.FAILED,
}
