"""What a wave's gate looks at, from what is stored.

Reads are bounded, whatever the fleet. What is left out is chosen by a hash of the rollout, so
that it is the same at each look and another one at the next rollout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic_core import from_json
from sqlmodel import Session

from cloud.fleet import facts as fleet_facts
from cloud.fleet.facts import NO_TEXTS
from cloud.lots import lots
from cloud.registry import service as registry
from cloud.rollouts import queries
from cloud.rollouts.gating.evidence import (
    CameraEvidence,
    DeviceEvidence,
    WaveEvidence,
    Windows,
    read_windows,
)
from cloud.rollouts.gating.policy import GatePolicy
from cloud.rollouts.models import Rollout
from cloud.rollouts.queries import Gated
from cloud.rollouts.running.looking import BY_HAND_ALERT
from cloud.rollouts.running.telling import ENGINE
from cloud.telemetry import service as telemetry
from protocol.chunks import sha256_hex
from protocol.states import ExecutionState

CAMERAS_MAX = 200
CONTROLS_MAX = 100
WINDOWS_MAX = 2000
"""Of one camera under one build."""
WINDOWS_IN_ALL = 24_000
ATTEMPTS_MAX = 20_000
WAITING_MAX = 2000
ALERTS_MAX = 1000
SEEN_WITHIN_S = 3600.0
"""A camera that has counted nothing for so long before the update is none to be judged."""
DAY_S = 86_400.0

_SERVING = frozenset(
    {
        ExecutionState.PROBATION.value,
        ExecutionState.COMMITTING.value,
        ExecutionState.SUCCEEDED.value,
    }
)


@dataclass(frozen=True)
class _Sides:
    """Where a camera's windows are: builds, and times by the device's clock.

    Attributes:
        began_at: when the update began, before which the incumbent had the device to itself.
    """

    device_id: str
    before: str
    after: str
    began_at: float
    exchanged_at: float


@dataclass(frozen=True)
class _Reading:
    """What holds for all reads of one look."""

    session: Session
    slot: str
    class_names: Sequence[str]
    baseline_s: float
    now: float
    limit: int


def frames_at_most(session: Session, rollout: Rollout, wave: int) -> int:
    """Frames of the wave after the exchange, as many as a gate could come to look at: a sum that
    is cheap to have, and tells whether all else need be read."""
    sides = [s for a in _attempts(session, rollout, wave) if (s := _sides(a)) is not None]
    return sum(
        telemetry.frames_of(
            session, ENGINE, [one.device_id for one in some], slot=rollout.model,
            bundle_digests={one.after for one in some},
            since=min(one.exchanged_at for one in some),
        )
        for some in lots(sides)
    )  # fmt: skip


def collect_devices(
    session: Session, rollout: Rollout, wave: int, now: float
) -> list[DeviceEvidence]:
    """What is counted of the wave's devices until `now` (Unix seconds), without their windows."""
    return _devices(session, rollout, _attempts(session, rollout, wave), now)


def collect(
    session: Session, rollout: Rollout, wave: int, policy: GatePolicy, now: float
) -> WaveEvidence:
    """Everything that a gate looks at, of the wave until `now` (Unix seconds)."""
    attempts = _attempts(session, rollout, wave)
    sides = {a.device_id: s for a in attempts if (s := _sides(a)) is not None}
    cameras = _cameras(session, rollout, sides, CAMERAS_MAX)
    control_sides = _control_sides(session, rollout, wave, list(sides.values()))
    controls = _cameras(session, rollout, control_sides, CONTROLS_MAX)
    read = _Reading(
        session=session,
        slot=rollout.model,
        class_names=registry.get_model(session, ENGINE, rollout.model).class_names,
        baseline_s=policy.baseline_s,
        now=now,
        limit=min(WINDOWS_MAX, WINDOWS_IN_ALL // (3 * max(1, len(cameras.some + controls.some)))),
    )
    return WaveEvidence(
        cameras=[_camera(read, sides[device_id], name) for device_id, name in cameras.some],
        controls=[_camera(read, control_sides[d], name) for d, name in controls.some],
        devices=_devices(session, rollout, attempts, now),
        cameras_unread=cameras.left_out,
    )


def _attempts(session: Session, rollout: Rollout, wave: int) -> list[Gated]:
    begun = queries.begun(session, rollout.id, wave, ATTEMPTS_MAX)
    return [attempt for attempt in begun if not attempt.reverts]


def _sides(attempt: Gated) -> _Sides | None:
    """None where there was no other build before, or this one does not serve."""
    before = from_json(attempt.before)["bundle_digest"] if attempt.before else None
    exchanged_at = attempt.exchanged_at or attempt.started_at
    if (
        attempt.state not in _SERVING
        or attempt.digest is None
        or before in {None, attempt.digest}
        or exchanged_at is None
    ):
        return None
    began_at = min(attempt.started_at or exchanged_at, exchanged_at)
    return _Sides(attempt.device_id, before, attempt.digest, began_at, exchanged_at)


def _control_sides(
    session: Session, rollout: Rollout, wave: int, sides: Sequence[_Sides]
) -> dict[str, _Sides]:
    """Devices of later waves that run what the wave ran, as if they had exchanged in its middle."""
    if not sides:
        return {}
    incumbents = {one.before for one in sides}
    at = sorted(one.exchanged_at for one in sides)[len(sides) // 2]
    began_at = sorted(one.began_at for one in sides)[len(sides) // 2]
    waiting = queries.waiting_after(session, rollout.id, wave, WAITING_MAX)
    chosen = _some(rollout, waiting, CONTROLS_MAX)
    return {
        one.id: _Sides(one.id, running, running, began_at, at)
        for some in lots(chosen)
        for one in fleet_facts.facts(session, some)
        if (running := one.running.get(rollout.model)) in incumbents
    }


@dataclass(frozen=True)
class _Cameras:
    """(device id, camera) of those that are looked at, and how many are not."""

    some: list[tuple[str, str]]
    left_out: int


def _cameras(
    session: Session, rollout: Rollout, sides: Mapping[str, _Sides], most: int
) -> _Cameras:
    """Cameras of the devices `sides`, at most `most`; each device has one at least, so that not
    more devices than that are asked."""
    asked = _some(rollout, sides, most)
    found: list[tuple[str, str]] = []
    for lot in lots(asked):
        since = min(sides[device_id].began_at for device_id in lot) - SEEN_WITHIN_S
        found += telemetry.cameras_of(session, ENGINE, lot, slot=rollout.model, since=since)
    names = {f"{device_id}/{camera}": (device_id, camera) for device_id, camera in found}
    chosen = _some(rollout, names, most)
    return _Cameras(
        sorted(names[name] for name in chosen), len(names) - len(chosen) + len(sides) - len(asked)
    )


def _some(rollout: Rollout, names: Iterable[str], most: int) -> list[str]:
    """At most `most` of `names`, in an order that only the rollout and they decide."""
    return sorted(names, key=lambda name: sha256_hex(f"{rollout.id}/{name}".encode()))[:most]


def _camera(read: _Reading, sides: _Sides, camera: str) -> CameraEvidence:
    """Both sides of a camera. The baseline is the newest windows, and where these do not reach
    back so far, those of the same hours of the day before."""
    since = sides.began_at - read.baseline_s
    after = _texts(read, sides, camera, sides.after, (sides.exchanged_at, read.now + DAY_S))
    before = _texts(read, sides, camera, sides.before, (since, sides.began_at))
    if len(before) == read.limit:
        first = min(start for start, _, _ in before)
        last = max((start for start, _, _ in after), default=sides.exchanged_at) - DAY_S
        same = max(since, sides.exchanged_at - DAY_S)
        if same < min(first, last):
            before += _texts(read, sides, camera, sides.before, (same, min(first, last)))
    return CameraEvidence(
        sides.device_id, camera, sides.exchanged_at,
        before=_windows(read, before), after=_windows(read, after),
    )  # fmt: skip


def _texts(
    read: _Reading, sides: _Sides, camera: str, digest: str, span: tuple[float, float]
) -> list[tuple[float, float, str]]:
    return list(
        telemetry.window_texts(
            read.session, ENGINE, sides.device_id, camera, slot=read.slot, bundle_digest=digest,
            since=span[0], until=span[1], limit=read.limit,
        )
    )  # fmt: skip


def _windows(read: _Reading, texts: Sequence[tuple[float, float, str]]) -> Windows:
    return read_windows(texts, read.class_names)


def _devices(
    session: Session, rollout: Rollout, attempts: Sequence[Gated], now: float
) -> list[DeviceEvidence]:
    """Starts, words of people and shadows, of all devices of the wave that have begun."""
    found = []
    for some in lots(attempts):
        ids = [attempt.device_id for attempt in some]
        boots = fleet_facts.boots(session, ids)
        texts = fleet_facts.texts(session, ids)
        alerted = _alerted(session, rollout.model, some)
        for attempt in some:
            exchanged = attempt.exchanged_at is not None or attempt.state in _SERVING
            reported = texts.get(attempt.device_id, NO_TEXTS).reported
            found.append(
                DeviceEvidence(
                    attempt.device_id,
                    starts=max(0, boots.get(attempt.device_id, 0) - attempt.boots)
                    if exchanged
                    else 0,
                    overridden=_overridden(
                        attempt, reported, rollout.model, attempt.device_id in alerted, now
                    ),
                    shadow=attempt.figures,
                )
            )
    return found


def _alerted(session: Session, slot: str, attempts: Sequence[Gated]) -> set[str]:
    """Devices at which an alert says that somebody went back, after the attempt had begun."""
    began = {a.device_id: a.exchanged_at or a.started_at or 0.0 for a in attempts}
    alerts = telemetry.alert_texts(
        session, ENGINE, list(began), since=min(began.values()), limit=ALERTS_MAX
    )
    return {
        device_id
        for device_id, at, text in alerts
        if at >= began[device_id]
        and (alert := from_json(text)["alert"])["name"] == BY_HAND_ALERT
        and slot == (alert.get("slot") or alert["text"].partition(": ")[0])
    }


def _overridden(attempt: Gated, reported: str | None, slot: str, alerted: bool, now: float) -> str:
    """What somebody at the device said against the build, in words."""
    said = from_json(reported)["slots"].get(slot, {}) if reported else {}
    if attempt.by_hand or alerted or said.get("by_hand"):
        return "went back by hand"
    if (said.get("veto_until") or 0.0) > now:
        return "said not now"
    return ""
