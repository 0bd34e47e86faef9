"""State words that travel on the wire, with their transition tables.

An *execution* is one device's passage through one attempt of a rollout. The device
moves it; the hub applies the same table to what the device reports, so a late or
repeated report cannot move it backwards.
"""

from __future__ import annotations

from enum import Enum


class Verdict(str, Enum):
    """What a comparison of two builds says. INCONCLUSIVE never passes and is no failure."""

    PASS = "PASS"  # noqa: S105 - a verdict, no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class ExecutionState(str, Enum):
    """Where one device stands in one attempt of a rollout."""

    QUEUED = "QUEUED"
    DOWNLOADING = "DOWNLOADING"
    DOWNLOADED = "DOWNLOADED"
    VERIFIED = "VERIFIED"
    BUILDING = "BUILDING"
    PROVING = "PROVING"
    SHADOWING = "SHADOWING"
    WAITING_WINDOW = "WAITING_WINDOW"
    PREPARED = "PREPARED"
    SWAPPING = "SWAPPING"
    PROBATION = "PROBATION"
    COMMITTING = "COMMITTING"
    ROLLING_BACK = "ROLLING_BACK"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    TIMED_OUT = "TIMED_OUT"
    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    NO_ARTIFACT = "NO_ARTIFACT"
    SUPERSEDED = "SUPERSEDED"


class ExecutionEvent(str, Enum):
    """What moves an execution."""

    DOWNLOAD_STARTED = "download_started"
    DOWNLOAD_FINISHED = "download_finished"
    VERIFY_PASSED = "verify_passed"
    BUILD_STARTED = "build_started"
    PROOF_STARTED = "proof_started"
    SHADOW_STARTED = "shadow_started"
    WINDOW_AWAITED = "window_awaited"
    PREPARE_FINISHED = "prepare_finished"
    SWAP_STARTED = "swap_started"
    EXCHANGED = "exchanged"
    PROBATION_PASSED = "probation_passed"
    COMMITTED = "committed"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_FINISHED = "rollback_finished"
    ALREADY_RUNNING = "already_running"
    NOTHING_FITS = "nothing_fits"
    REFUSED = "refused"
    ERROR = "error"
    TIMER_EXPIRED = "timer_expired"
    CANCEL_REQUESTED = "cancel_requested"
    NEWER_DESIRED = "newer_desired"


def _execution_table() -> dict[tuple[ExecutionState, ExecutionEvent], ExecutionState]:
    s, e = ExecutionState, ExecutionEvent
    table = {
        (s.QUEUED, e.DOWNLOAD_STARTED): s.DOWNLOADING,
        (s.QUEUED, e.ALREADY_RUNNING): s.SUCCEEDED,
        (s.QUEUED, e.NOTHING_FITS): s.NO_ARTIFACT,
        (s.DOWNLOADING, e.DOWNLOAD_FINISHED): s.DOWNLOADED,
        (s.DOWNLOADED, e.VERIFY_PASSED): s.VERIFIED,
        (s.VERIFIED, e.BUILD_STARTED): s.BUILDING,
        (s.VERIFIED, e.PROOF_STARTED): s.PROVING,
        (s.VERIFIED, e.NOTHING_FITS): s.NO_ARTIFACT,
        (s.BUILDING, e.PROOF_STARTED): s.PROVING,
        (s.PROVING, e.SHADOW_STARTED): s.SHADOWING,
        (s.PROVING, e.WINDOW_AWAITED): s.WAITING_WINDOW,
        (s.PROVING, e.PREPARE_FINISHED): s.PREPARED,
        (s.SHADOWING, e.WINDOW_AWAITED): s.WAITING_WINDOW,
        (s.SHADOWING, e.PREPARE_FINISHED): s.PREPARED,
        (s.WAITING_WINDOW, e.PREPARE_FINISHED): s.PREPARED,
        (s.PREPARED, e.SWAP_STARTED): s.SWAPPING,
        (s.SWAPPING, e.EXCHANGED): s.PROBATION,
        (s.SWAPPING, e.ROLLBACK_STARTED): s.ROLLING_BACK,
        (s.PROBATION, e.PROBATION_PASSED): s.COMMITTING,
        (s.PROBATION, e.ROLLBACK_STARTED): s.ROLLING_BACK,
        (s.COMMITTING, e.COMMITTED): s.SUCCEEDED,
        (s.COMMITTING, e.ROLLBACK_STARTED): s.ROLLING_BACK,
        (s.ROLLING_BACK, e.ROLLBACK_FINISHED): s.ROLLED_BACK,
    }
    # Up to PREPARED nothing has been exchanged, so an attempt can simply end.
    for state in BEFORE_EXCHANGE:
        table[state, e.REFUSED] = s.REJECTED
        table[state, e.ERROR] = s.FAILED
        table[state, e.TIMER_EXPIRED] = s.TIMED_OUT
        table[state, e.CANCEL_REQUESTED] = s.CANCELED
        table[state, e.NEWER_DESIRED] = s.SUPERSEDED
    return table


BEFORE_EXCHANGE: tuple[ExecutionState, ...] = (
    ExecutionState.QUEUED,
    ExecutionState.DOWNLOADING,
    ExecutionState.DOWNLOADED,
    ExecutionState.VERIFIED,
    ExecutionState.BUILDING,
    ExecutionState.PROVING,
    ExecutionState.SHADOWING,
    ExecutionState.WAITING_WINDOW,
    ExecutionState.PREPARED,
)

EXECUTION_TABLE = _execution_table()

TERMINAL_EXECUTION_STATES: frozenset[ExecutionState] = frozenset(
    {
        ExecutionState.SUCCEEDED,
        ExecutionState.FAILED,
        ExecutionState.ROLLED_BACK,
        ExecutionState.TIMED_OUT,
        ExecutionState.REJECTED,
        ExecutionState.CANCELED,
        ExecutionState.NO_ARTIFACT,
        ExecutionState.SUPERSEDED,
    }
)


class CameraState(str, Enum):
    """What a device says of one of its cameras."""

    CONNECTING = "CONNECTING"
    STREAMING = "STREAMING"
    STALE = "STALE"
    BACKING_OFF = "BACKING_OFF"
    ENDED = "ENDED"


class CameraEvent(str, Enum):
    """What moves a camera."""

    OPENED = "opened"
    OPEN_FAILED = "open_failed"
    FRAME = "frame"
    FROZEN = "frozen"
    LOST = "lost"
    RETRY = "retry"
    SOURCE_ENDED = "source_ended"


CAMERA_TABLE: dict[tuple[CameraState, CameraEvent], CameraState] = {
    (CameraState.CONNECTING, CameraEvent.OPENED): CameraState.STREAMING,
    (CameraState.CONNECTING, CameraEvent.OPEN_FAILED): CameraState.BACKING_OFF,
    (CameraState.STREAMING, CameraEvent.FRAME): CameraState.STREAMING,
    (CameraState.STREAMING, CameraEvent.FROZEN): CameraState.STALE,
    (CameraState.STREAMING, CameraEvent.LOST): CameraState.BACKING_OFF,
    (CameraState.STREAMING, CameraEvent.SOURCE_ENDED): CameraState.ENDED,
    (CameraState.STALE, CameraEvent.FRAME): CameraState.STREAMING,
    (CameraState.STALE, CameraEvent.LOST): CameraState.BACKING_OFF,
    (CameraState.STALE, CameraEvent.SOURCE_ENDED): CameraState.ENDED,
    (CameraState.BACKING_OFF, CameraEvent.RETRY): CameraState.CONNECTING,
}
