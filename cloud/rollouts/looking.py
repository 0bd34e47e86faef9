"""A rollout and its devices as the planner sees them, from what is stored."""

from __future__ import annotations

from sqlmodel import Session

from cloud.errors import NotFoundError
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.registry.resolution import BuildOffer
from cloud.rollouts import queries, telling
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.spec import RolloutSpec, spec_of
from cloud.rollouts.states import Asks, RolloutState
from cloud.rollouts.telling import ENGINE
from cloud.rollouts.views import (
    DeviceView,
    ErrorPolicy,
    GateTimes,
    PacePolicy,
    Policy,
    RolloutView,
    WavePolicy,
)
from cloud.telemetry import service as telemetry
from protocol.messages import EventReport, Reported
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState

INCONCLUSIVE, ACCEPTED = "INCONCLUSIVE", "ACCEPTED"
"""What an execution says of its shadow: a person is asked, a person has answered."""
SHADOW_FIGURE = "shadow_inconclusive"
BY_HAND_ALERT = "rolled_back_by_hand"
ONLINE = "online"
ALERTS_AT_ONCE = 100


def look(session: Session, rollout: Rollout) -> tuple[RolloutView, list[DeviceView]]:
    """The rollout and its devices' latest executions as the planner sees them."""
    latest = {row.device_id: row for row in queries.executions(session, rollout.id)}
    fleet_devices = {device.id: device for device in fleet.list_devices(session, ENGINE)}
    newer = queries.devices_of_newer(session, rollout)
    view = RolloutView(
        state=RolloutState(rollout.state),
        wave=rollout.wave,
        waves=len(rollout.spec["waves"]),
        builds=offers_of(session, rollout),
        policy=policy_of(spec_of(rollout)),
        asks=None if rollout.asks is None else Asks(rollout.asks),
        approved_waves=frozenset(rollout.approved_waves),
        reverting=rollout.reverting,
    )
    return view, [
        _device_view(session, rollout, row, fleet_devices[row.device_id], row.device_id in newer)
        for row in latest.values()
    ]


def policy_of(spec: RolloutSpec) -> Policy:
    """A specification as the planner reads it; each wave says all that holds for it."""
    pace, gates = spec.pace, spec.gates
    return Policy(
        waves=tuple(
            WavePolicy(
                soak_s=spec.soak_s if wave.soak_s is None else wave.soak_s,
                success_percent=(
                    spec.success_percent if wave.success_percent is None else wave.success_percent
                ),
                needs_approval=wave.needs_approval,
                gated=wave.gated,
            )
            for wave in spec.waves
        ),
        pace=None
        if pace is None
        else PacePolicy(
            pace.base_per_minute, pace.factor, pace.after_succeeded, pace.per_minute_max
        ),
        in_flight_max=spec.in_flight_max,
        failed_max=spec.failed_max,
        errors=tuple(
            ErrorPolicy(frozenset(e.kinds), e.percent, e.executed_min, e.then) for e in spec.errors
        ),
        retries=spec.retries.count,
        retry_after_s=spec.retries.after_s,
        retry_kinds=frozenset(ExecutionState(kind) for kind in spec.retries.kinds),
        step_timeout_s=spec.step_timeout_s,
        total_timeout_s=spec.total_timeout_s,
        attempts_max=spec.attempts_max,
        site_atomic=spec.site_atomic,
        continuous=spec.continuous,
        gate=None if gates is None else GateTimes(gates.every_s, gates.deadline_s, gates.on_fail),
    )


def offers_of(session: Session, rollout: Rollout) -> tuple[BuildOffer, ...]:
    """The rollout's builds with what stands against them now: one that was rejected or
    revoked since the rollout began is given to no further device."""
    digests = {build["digest"] for build in rollout.builds}
    try:
        version = registry.get_version(session, ENGINE, rollout.model, rollout.version)
    except NotFoundError:  # deleted once nothing held it; there is nothing left to give out
        return ()
    return tuple(o for o in registry.offers(session, version) if o.digest in digests)


def _device_view(
    session: Session, rollout: Rollout, row: Execution, device: Device, newer: bool
) -> DeviceView:
    """What the planner needs of a device. Its report and desired state are parsed only
    where the answer hangs on them: a fleet at rest costs little."""
    state = ExecutionState(row.state)
    waiting = row.started_at is None and row.wave <= rollout.wave
    running_digest = _running_digest(rollout, row, device)
    moving = row.started_at is not None and state not in TERMINAL_EXECUTION_STATES
    odd = running_digest not in (None, row.digest)
    owned = (moving or odd) and telling.desired_of(rollout, device) is not None
    asked = odd and owned and not newer and not row.by_hand
    reported = fleet.reported(device) if waiting else None
    return DeviceView(
        device_id=row.device_id,
        wave=row.wave,
        attempt=row.attempt,
        state=state,
        started_at=row.started_at,
        step_at=row.step_at,
        ended_at=row.ended_at,
        digest=row.digest,
        owned=owned,
        newer=newer,
        acknowledged=row.acknowledged,
        diverged=row.diverged,
        running_digest=running_digest,
        capabilities=reported.capabilities if reported else None,
        site=device.site,
        held=row.held and row.released_at is None,
        released=row.released_at is not None,
        online=device.presence == ONLINE,
        heard_at=device.last_seen,
        inconclusive=shadow_of(rollout, row, device) == INCONCLUSIVE,
        by_hand=row.by_hand or (asked and _went_back_by_hand(session, rollout, row, device)),
        by_hand_marked=row.by_hand,
    )


def shadow_of(rollout: Rollout, row: Execution, device: Device) -> str:
    """The shadow's word on the execution; "" while there is none.

    The device says it in an event and goes on saying it in its reports, of which one alone
    may have come.
    """
    if row.shadow or row.state != ExecutionState.SHADOWING.value:
        return row.shadow
    reported = fleet.reported(device)
    slot = reported.slots.get(rollout.model) if reported else None
    told = slot.execution if slot else None
    mine = told is not None and (told.rollout_id, told.attempt) == (rollout.id, row.attempt)
    asks = mine and told is not None and told.figures.get(SHADOW_FIGURE) == 1
    return INCONCLUSIVE if asks else ""


def waiting(session: Session, rollout: Rollout, row: Execution) -> tuple[str, str]:
    """What the execution's shadow says, and what the device waits for, in words."""
    match ExecutionState(row.state):
        case ExecutionState.SHADOWING:
            device = fleet.get_device(session, ENGINE, row.device_id)
            shadow = shadow_of(rollout, row, device)
            asks = shadow == INCONCLUSIVE
            return shadow, "a person: its shadow is INCONCLUSIVE" if asks else ""
        case ExecutionState.WAITING_WINDOW:
            return row.shadow, "its maintenance window"
        case ExecutionState.PREPARED if row.held and row.released_at is None:
            return row.shadow, "the rest of its site"
    return row.shadow, ""


def _went_back_by_hand(session: Session, rollout: Rollout, row: Execution, device: Device) -> bool:
    """Whether somebody at the device went back after the success: by its report, or by an
    alert, which comes too from an agent that did not run then."""
    reported = fleet.reported(device)
    if reported is not None and _says_by_hand(reported, rollout.model):
        return True
    after, page = 0, None
    while page is None or len(page) == ALERTS_AT_ONCE:
        page = telemetry.list_events(
            session, ENGINE, device_id=device.id, kind="alert",
            since=row.device_ended_at or 0.0, after=after, limit=ALERTS_AT_ONCE,
        )  # fmt: skip
        if any(_is_by_hand(event.payload, rollout.model, device) for event in page):
            return True
        after = page[-1].id or 0 if page else 0
    return False


def _says_by_hand(reported: Reported, slot: str) -> bool:
    return bool(getattr(reported.slots.get(slot), "by_hand", False))


def _is_by_hand(payload: str, slot: str, device: Device) -> bool:
    """Its text begins with the slot. One that names none may mean this one: a person is asked
    rather than overruled."""
    alert = EventReport.model_validate_json(payload).alert
    if alert is None or alert.name != BY_HAND_ALERT:
        return False
    named = [name for name in device.models if alert.text.startswith(f"{name}: ")]
    return not named or slot in named


def _running_digest(rollout: Rollout, row: Execution, device: Device) -> str | None:
    """What a device that had succeeded runs by a report that it made after that. Both
    times are the device's own, so its clock need not agree with the hub's."""
    if row.state != ExecutionState.SUCCEEDED.value:
        return None
    running = device.running.get(rollout.model)
    if running in (None, row.digest):
        return running
    reported = fleet.reported(device)
    at = row.device_ended_at
    later = reported is not None and at is not None and reported.reported_at > at
    return running if later else None
