"""Every SELECT of telemetry."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Integer, cast, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from cloud.telemetry.models import DeviceEvent, Sample, StreamCursor, TelemetryWindow


def cursors(
    session: Session, stream: str, device_ids: Collection[str]
) -> Sequence[tuple[str, str, int, Sequence[Sequence[int]]]]:
    """Rows (device_id, epoch, contiguous, ahead), of every epoch.

    A device begins few epochs; asking for a thousand devices' by name would have the database
    look for each of them with each device.
    """
    c = StreamCursor
    return session.exec(
        select(c.device_id, c.epoch, c.contiguous, c.ahead).where(
            c.stream == stream, col(c.device_id).in_(device_ids)
        )
    ).all()


def windows(
    session: Session,
    *,
    device_id: str | None,
    camera: str | None,
    since: float,
    after: int,
    limit: int,
) -> Sequence[TelemetryWindow]:
    query = select(TelemetryWindow).where(
        TelemetryWindow.window_end > since, col(TelemetryWindow.id) > after
    )
    if device_id is not None:
        query = query.where(TelemetryWindow.device_id == device_id)
    if camera is not None:
        query = query.where(TelemetryWindow.camera == camera)
    return session.exec(query.order_by(col(TelemetryWindow.id)).limit(limit)).all()


def cameras(
    session: Session, slot: str, device_ids: Collection[str], since: float
) -> Sequence[tuple[str, str]]:
    """(device id, camera) of all with a window of the slot that starts at or after `since`."""
    w = TelemetryWindow
    query = (
        select(w.device_id, w.camera)
        .where(col(w.device_id).in_(device_ids), w.slot == slot, w.window_start >= since)
        .distinct()
    )
    return session.exec(query).all()


def frames(
    session: Session,
    slot: str,
    device_ids: Collection[str],
    bundle_digests: Collection[str],
    since: float,
) -> int:
    """Sum over windows that start at or after `since`."""
    w = TelemetryWindow
    query = select(func.sum(w.frames_inferred)).where(
        col(w.device_id).in_(device_ids),
        w.window_start >= since,
        w.slot == slot,
        col(w.bundle_digest).in_(bundle_digests),
    )
    return session.exec(query).one() or 0


def window_texts(
    session: Session,
    *,
    device_id: str,
    camera: str,
    slot: str,
    bundle_digest: str,
    since: float,
    until: float,
    limit: int,
) -> Sequence[tuple[float, float, str]]:
    """(start, end, message) of the newest windows of a build that start in [since, until)."""
    w = TelemetryWindow
    query = (
        select(w.window_start, w.window_end, w.payload)
        .where(
            w.device_id == device_id,
            w.camera == camera,
            w.window_start >= since,
            w.window_start < until,
            w.slot == slot,
            w.bundle_digest == bundle_digest,
        )
        .order_by(col(w.window_start).desc())
        .limit(limit)
    )
    return session.exec(query).all()


def event_texts(
    session: Session, kind: str, device_ids: Collection[str], since: float, limit: int
) -> Sequence[tuple[str, float, str]]:
    """(device id, time, message) of the newest events at or after `since`."""
    e = DeviceEvent
    query = (
        select(e.device_id, e.at, e.payload)
        .where(col(e.device_id).in_(device_ids), e.kind == kind, e.at >= since)
        .order_by(col(e.at).desc())
        .limit(limit)
    )
    return session.exec(query).all()


def summary(
    session: Session,
    *,
    device_id: str | None,
    camera: str | None,
    since: float,
    bucket_s: float,
    limit: int,
) -> Sequence[Any]:
    """Rows (device_id, camera, slot, bundle_digest, bucket, windows, frames, served, sum)."""
    w = TelemetryWindow
    bucket = cast(col(w.window_start) / bucket_s, Integer)
    groups = (col(w.device_id), col(w.camera), col(w.slot), col(w.bundle_digest), bucket)
    query = (
        select_columns(
            *groups,
            func.count(),
            func.sum(col(w.frames_inferred)),
            func.sum(col(w.served)),
            func.sum(col(w.served_confidence_sum)),
        )
        .where(col(w.window_end) > since)
        .group_by(*groups)
        .order_by(bucket)
        .limit(limit)
    )
    if device_id is not None:
        query = query.where(col(w.device_id) == device_id)
    if camera is not None:
        query = query.where(col(w.camera) == camera)
    return session.execute(query).all()


def events(
    session: Session,
    *,
    device_id: str | None,
    kind: str | None,
    since: float,
    after: int,
    limit: int,
) -> Sequence[DeviceEvent]:
    query = select(DeviceEvent).where(DeviceEvent.at >= since, col(DeviceEvent.id) > after)
    if device_id is not None:
        query = query.where(DeviceEvent.device_id == device_id)
    if kind is not None:
        query = query.where(DeviceEvent.kind == kind)
    return session.exec(query.order_by(col(DeviceEvent.id)).limit(limit)).all()


def samples(
    session: Session,
    *,
    device_id: str | None,
    camera: str | None,
    since: float,
    after: str | None,
    limit: int,
) -> Sequence[Sample]:
    query = select(Sample).where(Sample.captured_at >= since)
    if device_id is not None:
        query = query.where(Sample.device_id == device_id)
    if camera is not None:
        query = query.where(Sample.camera == camera)
    if after is not None:
        query = query.where(col(Sample.id) > after)
    return session.exec(query.order_by(col(Sample.id)).limit(limit)).all()
