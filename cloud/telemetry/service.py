"""Verbs of telemetry: store what devices send, exactly once, and show it.

The `store_*` functions are handlers of the ingress: they run in the batch's transaction
and promise acknowledgements that go out after its commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sqlalchemy.dialects.sqlite import insert
from sqlmodel import Session, SQLModel

from cloud.access.principal import Principal, Role, require
from cloud.errors import InvalidError
from cloud.fleet import service as fleet
from cloud.inbound import Received, Tally
from cloud.telemetry import queries
from cloud.telemetry.admission import Admission
from cloud.telemetry.models import DeviceEvent, Sample, TelemetryWindow
from cloud.telemetry.schemas import SummaryPoint
from cloud.telemetry.sequences import Verdict
from protocol.messages import EventReport, ExecutionReport, TelemetryReport, Tombstone


class Step(NamedTuple):
    """A device's word on one of its executions; `at` is its own time, in Unix seconds."""

    device_id: str
    report: ExecutionReport
    at: float


class Turn(NamedTuple):
    """A device's word that another bundle serves for good in a slot; `at` as of a `Step`."""

    device_id: str
    name: str
    slot: str
    left: str
    serves: str
    at: float


OnWords = Callable[[Session, Sequence[Step | Turn]], None]
"""Told of what a batch says of executions and slots, in its order, in the transaction that
stores it."""

TALLY = {
    Verdict.FRESH: "stored",
    Verdict.DUPLICATE: "duplicates",
    Verdict.TOO_FAR: "refused.too_far_ahead",
}


def store_windows(session: Session, batch: Sequence[Received], *, ranges_max: int) -> Tally:
    """Store windows of statistics."""
    admission = Admission(session, "telemetry", batch, ranges_max)
    tally: Tally = Counter()
    rows = []
    for received in batch:
        message = received.message
        verdict = admission.admit(message)
        tally[_outcome(message, verdict)] += 1
        if verdict is Verdict.FRESH and isinstance(message, TelemetryReport):
            stats = message.stats
            rows.append(
                {
                    "device_id": message.device_id,
                    "epoch": message.epoch,
                    "sequence": message.sequence,
                    "camera": message.camera,
                    "slot": message.slot,
                    "bundle_digest": message.bundle_digest,
                    "window_start": message.window_start,
                    "window_end": message.window_end,
                    "frames_inferred": stats.frames_inferred,
                    "served": stats.served,
                    "served_confidence_sum": stats.served_confidence_sum,
                    "payload": received.payload.decode(),
                }
            )
    insert_once(session, TelemetryWindow, rows)
    admission.close()
    return tally


def store_events(
    session: Session,
    batch: Sequence[Received],
    *,
    ranges_max: int,
    on_words: Sequence[OnWords] = (),
) -> Tally:
    """Store events and tell `on_words` of the steps and turns among them.

    A device with a new alert has changed: it may say why another build runs than should.
    """
    admission = Admission(session, "events", batch, ranges_max)
    tally: Tally = Counter()
    rows: list[dict[str, object]] = []
    words: list[Step | Turn] = []
    alerted: set[str] = set()
    for received in batch:
        message = received.message
        verdict = admission.admit(message)
        tally[_outcome(message, verdict)] += 1
        if verdict is Verdict.FRESH and isinstance(message, EventReport):
            rows.append(
                {
                    "device_id": message.device_id,
                    "epoch": message.epoch,
                    "sequence": message.sequence,
                    "at": message.at,
                    "kind": _event_kind(message),
                    "payload": received.payload.decode(),
                }
            )
            if message.alert is not None:
                alerted.add(message.device_id)
            words += _words(message)
    insert_once(session, DeviceEvent, rows)
    fleet.touch(session, alerted)
    admission.close()
    for tell in on_words if words else ():
        tell(session, words)
    return tally


def insert_once(session: Session, table: type[SQLModel], rows: list[dict[str, object]]) -> None:
    """Insert rows; one whose (device, epoch, sequence) is there already is left out."""
    if rows:
        unique = ("device_id", "epoch", "sequence")
        statement = insert(table).on_conflict_do_nothing(index_elements=unique)
        session.connection().execute(statement, rows)


def list_windows(
    session: Session,
    principal: Principal,
    *,
    device_id: str | None = None,
    camera: str | None = None,
    since: float = 0.0,
    after: int = 0,
    limit: int = 100,
) -> Sequence[TelemetryWindow]:
    """Windows that end after `since`, in the order of their arrival."""
    require(principal, Role.VIEWER)
    return queries.windows(
        session, device_id=device_id, camera=camera, since=since, after=after, limit=limit
    )


def cameras_of(
    session: Session,
    principal: Principal,
    device_ids: Collection[str],
    *,
    slot: str,
    since: float,
) -> list[tuple[str, str]]:
    """(device id, camera) of what these devices have counted of the slot since then, in order.

    device_ids: a few hundred at most. since: Unix seconds at the device.
    """
    require(principal, Role.VIEWER)
    return sorted(queries.cameras(session, slot, device_ids, since))


def frames_of(
    session: Session,
    principal: Principal,
    device_ids: Collection[str],
    *,
    slot: str,
    bundle_digests: Collection[str],
    since: float,
) -> int:
    """Frames that these devices (a few hundred at most) have inferred with these builds since."""
    require(principal, Role.VIEWER)
    return queries.frames(session, slot, device_ids, bundle_digests, since)


def window_texts(
    session: Session,
    principal: Principal,
    device_id: str,
    camera: str,
    *,
    slot: str,
    bundle_digest: str,
    since: float,
    until: float,
    limit: int,
) -> Sequence[tuple[float, float, str]]:
    """The newest windows of one camera and build that start in [since, until), newest first:
    start and end (Unix seconds at the device), and the message as JSON text."""
    require(principal, Role.VIEWER)
    return queries.window_texts(
        session, device_id=device_id, camera=camera, slot=slot, bundle_digest=bundle_digest,
        since=since, until=until, limit=limit,
    )  # fmt: skip


def alert_texts(
    session: Session,
    principal: Principal,
    device_ids: Collection[str],
    *,
    since: float,
    limit: int,
) -> Sequence[tuple[str, float, str]]:
    """The newest alerts of these devices (a few hundred at most) at or after `since`: device id,
    Unix seconds at the device, and the message as JSON text."""
    require(principal, Role.VIEWER)
    return queries.event_texts(session, "alert", device_ids, since, limit)


def summarise(
    session: Session,
    principal: Principal,
    *,
    device_id: str | None = None,
    camera: str | None = None,
    since: float = 0.0,
    bucket_s: float = 60.0,
    limit: int = 1000,
) -> list[SummaryPoint]:
    """A point per camera, build and bucket of `bucket_s`, in the order of time."""
    require(principal, Role.VIEWER)
    if bucket_s <= 0:
        raise InvalidError(f"bucket_s is {bucket_s}", "give seconds above 0")
    rows = queries.summary(
        session, device_id=device_id, camera=camera, since=since, bucket_s=bucket_s, limit=limit
    )
    return [
        SummaryPoint(
            device_id=device,
            camera=name,
            slot=slot,
            bundle_digest=digest,
            start=bucket * bucket_s,
            windows=windows,
            frames=frames,
            detections=served,
            mean_confidence=total / served if served else None,
            detections_per_frame=served / frames if frames else None,
        )
        for device, name, slot, digest, bucket, windows, frames, served, total in rows
    ]


def list_events(
    session: Session,
    principal: Principal,
    *,
    device_id: str | None = None,
    kind: str | None = None,
    since: float = 0.0,
    after: int = 0,
    limit: int = 100,
) -> Sequence[DeviceEvent]:
    """Events at or after `since`, in the order of their arrival."""
    require(principal, Role.VIEWER)
    return queries.events(
        session, device_id=device_id, kind=kind, since=since, after=after, limit=limit
    )


def list_samples(
    session: Session,
    principal: Principal,
    *,
    device_id: str | None = None,
    camera: str | None = None,
    since: float = 0.0,
    after: str | None = None,
    limit: int = 100,
) -> Sequence[Sample]:
    """Samples captured at or after `since`."""
    require(principal, Role.VIEWER)
    return queries.samples(
        session, device_id=device_id, camera=camera, since=since, after=after, limit=limit
    )


def _outcome(message: object, verdict: Verdict) -> str:
    if isinstance(message, Tombstone) and verdict is Verdict.FRESH:
        return "tombstones"
    return TALLY[verdict]


def _words(message: EventReport) -> list[Step | Turn]:
    if message.execution is not None:
        return [Step(message.device_id, message.execution, message.at)]
    said = message.alert
    if said is None or said.slot is None or said.left is None or said.serves is None:
        return []
    device_id, at = message.device_id, message.at
    return [Turn(device_id, said.name, said.slot, said.left, said.serves, at)]


def _event_kind(message: EventReport) -> str:
    if message.execution is not None:
        return "execution"
    return "camera" if message.camera is not None else "alert"
