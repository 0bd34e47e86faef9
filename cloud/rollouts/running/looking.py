"""A rollout as the planner sees it, from what is stored; its devices see `devices`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from cloud.errors import NotFoundError
from cloud.fleet import facts as fleet_facts
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.registry.resolution import BuildOffer
from cloud.rollouts import queries
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.planning.views import (
    ErrorPolicy,
    GateTimes,
    GateView,
    PacePolicy,
    Policy,
    RolloutView,
    WavePolicy,
)
from cloud.rollouts.queries import Head
from cloud.rollouts.request.spec import RolloutSpec
from cloud.rollouts.running.telling import ENGINE
from cloud.rollouts.states import RUNS_AGAIN, Asks, RolloutState
from cloud.telemetry import service as telemetry
from cloud.telemetry.service import Step
from protocol.messages import Alert, EventReport, Reported, SlotReported
from protocol.states import ExecutionState, Verdict

INCONCLUSIVE, ACCEPTED = "INCONCLUSIVE", "ACCEPTED"
"""What an execution says of its shadow: a person is asked, a person has answered."""
SHADOW_FIGURE = "shadow_inconclusive"
BY_HAND_ALERT = "rolled_back_by_hand"
ONLINE = "online"
EVENTS_AT_ONCE = 100


@dataclass(frozen=True)
class Brought:
    """What a rollout brings, which never changes."""

    model: str
    version: int
    digests: frozenset[str]


def rollout_view(
    session: Session,
    head: Head,
    waves: int,
    policy: Policy,
    brought: Brought,
    *,
    heard_since: float | None,
) -> RolloutView:
    """A rollout as the planner sees it, with what stands against its builds now."""
    return RolloutView(
        state=RolloutState(head.state),
        wave=head.wave,
        waves=waves,
        builds=_offers(session, brought),
        policy=policy,
        gate=None if policy.gate is None else gate_view(session, head.id, head.wave),
        asks=None if head.asks is None else Asks(head.asks),
        approved_waves=frozenset(head.approved_waves),
        reverting=head.reverting,
        stopped_by=head.reason or "the rollout was cancelled",
        heard_since=heard_since,
    )


def gate_view(session: Session, rollout_id: str, wave: int) -> GateView | None:
    """The last look at a wave's gate. What settled once and has moved since counts from when it
    settled again."""
    looks = queries.looks_at_gate(session, rollout_id, wave)
    if not looks:
        return None
    last, settled_at = looks[-1], None
    for one in reversed(looks):
        if not one.settled:
            break
        settled_at = one.at
    return GateView(
        wave=wave,
        verdict=Verdict(last.verdict),
        looked_at=last.at,
        settled_at=settled_at,
        answered=any(one.answered_by is not None for one in looks),
        reason=last.reason,
    )


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
    return _offers(session, brought_by(rollout))


def brought_by(rollout: Rollout) -> Brought:
    """What the rollout brings."""
    digests = frozenset(build["digest"] for build in rollout.builds)
    return Brought(rollout.model, rollout.version, digests)


def _offers(session: Session, brought: Brought) -> tuple[BuildOffer, ...]:
    try:
        version = registry.get_version(session, ENGINE, brought.model, brought.version)
    except NotFoundError:  # deleted once nothing held it; there is nothing left to give out
        return ()
    return tuple(o for o in registry.offers(session, version) if o.digest in brought.digests)


def shadow_of(rollout: Rollout, row: Execution, device: Device) -> str:
    """The shadow's word on the execution; "" while there is none.

    The device says it in an event and goes on saying it in its reports, of which one alone
    may have come.
    """
    return shadow_word(row.shadow, row.state, _figures(_reported_slot(rollout, row, device)))


def _figures(slot: SlotReported | None) -> Mapping[str, float]:
    told = slot.execution if slot else None
    return told.figures if told else {}


def shadow_word(stored: str, state: str, figures: Mapping[str, float]) -> str:
    """What was stored of a shadow's word, or what the device's report of the execution says."""
    if stored or state != ExecutionState.SHADOWING.value:
        return stored
    return INCONCLUSIVE if figures.get(SHADOW_FIGURE) == 1 else ""


_MAY_WAIT = (
    *(ExecutionState.QUEUED, ExecutionState.SHADOWING),
    *(ExecutionState.WAITING_WINDOW, ExecutionState.PREPARED),
)


def waiting(session: Session, rollout: Rollout, row: Execution) -> tuple[str, str, str]:
    """What the execution's shadow says, what the device waits for, and why it is where it is:
    its own last words, where it says them in its reports only (a full disk, a window)."""
    state = ExecutionState(row.state)
    if row.diverged and runs_again(session, rollout, [row.device_id]):
        return row.shadow, "", f"{row.reason}; {RUNS_AGAIN}"
    if row.started_at is None or state not in _MAY_WAIT:
        return row.shadow, "", row.reason
    device = fleet.get_device(session, ENGINE, row.device_id)
    slot = _reported_slot(rollout, row, device)
    shadow = shadow_word(row.shadow, row.state, _figures(slot))
    said = slot.execution.reason if slot is not None and slot.execution is not None else ""
    vetoed = slot is not None and slot.veto_until is not None
    waits_for = ""
    if state is ExecutionState.SHADOWING and shadow == INCONCLUSIVE:
        waits_for = "a person: its shadow is INCONCLUSIVE"
    elif state is ExecutionState.WAITING_WINDOW:
        waits_for = "its maintenance window"
    elif state is ExecutionState.PREPARED and vetoed:
        waits_for = "its line, which says not now"
    elif state is ExecutionState.PREPARED and row.held and row.released_at is None:
        waits_for = "the rest of its site"
    return shadow, waits_for, row.reason or said


def runs_again(session: Session, rollout: Rollout, device_ids: Sequence[str]) -> set[str]:
    """Those of the devices that run a build of the rollout now, whatever was seen of them
    before; a few hundred at most."""
    own = {build["digest"] for build in rollout.builds}
    found = fleet_facts.facts(session, device_ids)
    return {device.id for device in found if device.running.get(rollout.model) in own}


def _reported_slot(rollout: Rollout, row: Execution, device: Device) -> SlotReported | None:
    """What the device last reported of the slot, where that is of this execution."""
    reported = fleet.reported(device)
    return None if reported is None else _own_slot(rollout, row, reported)


def _own_slot(rollout: Rollout, row: Execution, reported: Reported) -> SlotReported | None:
    slot = reported.slots.get(rollout.model)
    told = slot.execution if slot else None
    mine = told is not None and (told.rollout_id, told.attempt) == (rollout.id, row.attempt)
    return slot if mine else None


def last_word(rollout: Rollout, row: Execution, device: Device) -> Step | None:
    """What the device's last report says of the execution; None where it says nothing of it."""
    # Most are spared the parsing.
    reported = fleet.reported(device) if rollout.id in (device.reported or "") else None
    slot = None if reported is None else _own_slot(rollout, row, reported)
    if reported is None or slot is None or slot.execution is None:
        return None
    return Step(device.id, slot.execution, reported.reported_at)


def went_back_by_hand(session: Session, device_id: str, slot: str, since: float) -> bool:
    """Whether an alert says that somebody at the device went back after `since`, in its own
    time. It comes too from an agent that did not run then."""
    models = fleet.get_device(session, ENGINE, device_id).models
    said = (event.alert for event in told_since(session, device_id, "alert", since))
    return any(alert is not None and _is_by_hand(alert, slot, models) for alert in said)


def told_since(session: Session, device_id: str, kind: str, since: float) -> Iterator[EventReport]:
    """A device's events at or after `since`, in its own time, as they came."""
    after: int | None = 0
    while after is not None:
        page = telemetry.list_events(
            session, ENGINE, device_id=device_id, kind=kind,
            since=since, after=after, limit=EVENTS_AT_ONCE,
        )  # fmt: skip
        yield from (EventReport.model_validate_json(event.payload) for event in page)
        after = page[-1].id if len(page) == EVENTS_AT_ONCE else None


def _is_by_hand(alert: Alert, slot: str, models: Sequence[str]) -> bool:
    """An older agent's text begins with the slot. One that names none may mean this one: a person
    is asked rather than overruled."""
    if alert.name != BY_HAND_ALERT:
        return False
    if alert.slot is not None:
        return alert.slot == slot
    named = [name for name in models if alert.text.startswith(f"{name}: ")]
    return not named or slot in named
