"""What people do with a rollout that there is: each verb leaves an entry in its journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.fleet import service as fleet
from cloud.rollouts import queries
from cloud.rollouts.journal import note
from cloud.rollouts.models import Rollout, RolloutGate
from cloud.rollouts.reading import get
from cloud.rollouts.request.spec import RolloutSpec, spec_of
from cloud.rollouts.running import telling
from cloud.rollouts.running.acting import move
from cloud.rollouts.running.looking import ACCEPTED, INCONCLUSIVE, shadow_of
from cloud.rollouts.states import FAILURES, Asks, RolloutEvent, RolloutState
from protocol.errors import IllegalEvent
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState, Verdict

UNDER_WAY = frozenset({RolloutState.RUNNING.value, RolloutState.PAUSED.value})
SEE = "see `argosy rollout show`"
_STANDS: Mapping[str, tuple[str, str]] = {
    RolloutState.CREATING.value: ("is being made", "try again in a moment"),
    RolloutState.WAITING_FOR_APPROVAL.value: (
        "waits for an approver",
        "`argosy rollout approve {id}` lets it begin, `argosy rollout cancel {id}` gives it up",
    ),
    RolloutState.READY.value: ("is about to begin", "try again in a moment"),
    RolloutState.RUNNING.value: (
        "is under way",
        "`argosy rollout pause {id}` or `argosy rollout abort {id} --revert` stops it",
    ),
    RolloutState.PAUSED.value: (
        "is paused",
        "`argosy rollout resume {id}` goes on, `argosy rollout abort {id} --revert` takes it back",
    ),
    RolloutState.STOPPING.value: (
        "is being given up and waits for devices under way",
        "`argosy rollout watch {id}` shows its end; start another one after it",
    ),
    RolloutState.STOPPED.value: ("was given up", "start another one, `argosy rollout start`"),
    RolloutState.FINISHED.value: ("has finished", "start another one, `argosy rollout start`"),
}
"""What a rollout does in each state, and what can be done then, for who tries what cannot be."""
_DONE: Mapping[RolloutEvent, str] = {
    RolloutEvent.APPROVED: "approved",
    RolloutEvent.PAUSED: "paused",
    RolloutEvent.RESUMED: "resumed",
    RolloutEvent.CANCEL_REQUESTED: "given up",
}


def approve(
    session: Session,
    principal: Principal,
    rollout_id: str,
    remark: str = "",
    answers: Asks | None = None,
) -> Rollout:
    """Answer what the rollout asks: whether it, or its next wave, may begin, or whether its
    wave passes a gate that came to no verdict.

    answers: the question that was read; None: whichever stands.

    Raises ConflictError where it asks nothing, or something else than `answers`.
    """
    require(principal, Role.APPROVER)
    rollout, now = _taken(session, principal, rollout_id), time.time()
    if answers is not None and rollout.asks not in (None, answers.value):
        raise ConflictError(
            f"rollout {rollout.name} asks {rollout.asks} by now, no more {answers.value}", SEE
        )
    match rollout.asks:
        case Asks.APPROVAL.value:
            said = _said("approved", principal, remark)
            _move(session, principal, rollout, RolloutEvent.APPROVED, said)
            move(session, principal, rollout, RolloutEvent.STARTED, now)
            detail: dict[str, Any] = {"answers": Asks.APPROVAL.value}
        case Asks.WAVE.value:
            wave = _asked_wave(rollout)
            rollout.approved_waves = sorted({*rollout.approved_waves, wave})
            detail = {"answers": Asks.WAVE.value, "wave": wave}
        case Asks.GATE.value:
            row = _gate_answered(session, principal, rollout, remark, now)
            detail = {"answers": Asks.GATE.value, "look": row.look, "verdict": row.verdict}
        case _:
            raise ConflictError(
                f"rollout {rollout.name} {_stands(rollout)} and asks for no approval",
                f"{SEE}; `argosy rollout force` opens the next wave unasked",
            )
    if rollout.asks != Asks.APPROVAL.value:
        rollout.reason = ""
    rollout.asks = None
    _record(session, principal, rollout, "approved", remark, detail=detail)
    return rollout


def pause(session: Session, principal: Principal, rollout_id: str, remark: str = "") -> Rollout:
    """Start nothing more; what is under way on devices goes on."""
    rollout = _operated(session, principal, rollout_id)
    said = _said("paused", principal, remark)
    _move(session, principal, rollout, RolloutEvent.PAUSED, said)
    _record(session, principal, rollout, "paused", remark)
    return rollout


def resume(session: Session, principal: Principal, rollout_id: str, remark: str = "") -> Rollout:
    """Go on. The failures so far are acknowledged: nothing counts them any more."""
    rollout = _operated(session, principal, rollout_id)
    said = _said("resumed", principal, remark)
    _move(session, principal, rollout, RolloutEvent.RESUMED, said)
    states = [state.value for state in FAILURES]
    seen = queries.unacknowledged_ids(session, rollout_id, states)
    if seen:
        queries.acknowledge(session, rollout_id, states)
        fleet.touch(session, seen)
    _record(session, principal, rollout, "resumed", remark, detail={"acknowledged": len(seen)})
    return rollout


def cancel(session: Session, principal: Principal, rollout_id: str, remark: str = "") -> Rollout:
    """Give up what has not been exchanged yet. Devices that have the build keep it."""
    rollout = _operated(session, principal, rollout_id)
    _stop(session, principal, rollout, _said("cancelled", principal, remark))
    _record(session, principal, rollout, "cancelled", remark)
    return rollout


def abort(
    session: Session, principal: Principal, rollout_id: str, *, revert: bool, remark: str = ""
) -> Rollout:
    """Give the rollout up. With `revert` every device that has its build goes back to what it
    had before, as far as the model's floor lets it; without, they keep it.

    A rollout that stops already may still be told to bring back what was before.

    Raises ConflictError where it has ended, or is being reverted.
    """
    rollout = _operated(session, principal, rollout_id)
    stopping = rollout.state == RolloutState.STOPPING.value
    said = _said("aborted", principal, remark)
    if stopping and revert and not rollout.reverting:
        rollout.reason = said
        access.audit(
            session, principal, "rollout.abort", f"rollout/{rollout.id}", reason=said, revert=True
        )
    else:
        _stop(session, principal, rollout, said)
    rollout.reverting = revert
    _record(session, principal, rollout, "aborted", remark, detail={"revert": revert})
    return rollout


def force(
    session: Session,
    principal: Principal,
    rollout_id: str,
    remark: str,
    let_go: int | None = None,
) -> Rollout:
    """Open the next wave now, or let the last one finish, whatever a gate says of this one.

    It holds no longer, is not resumed by this where it is paused, and failures go on counting.

    let_go: the wave that is gone past, from 0; nothing is done where a later one is open. None:
        the open one, unless that may be this same word once more.

    Raises:
        InvalidError: there is no remark.
        ConflictError: it is not under way, its wave waits for an approval, it is the last
            one and no gate holds it, or `let_go` is not open yet; or it is None, and the open
            wave was itself opened by force and no device of it has ended.
    """
    require(principal, Role.APPROVER)
    if not remark.strip():
        raise InvalidError(
            "remark: nobody goes past a gate without saying why", "say it, `--remark …`"
        )
    rollout, now = _taken(session, principal, rollout_id), time.time()
    if let_go is not None and let_go < rollout.wave:
        return rollout
    if rollout.state not in UNDER_WAY:
        raise ConflictError(
            f"rollout {rollout.name} {_stands(rollout)}; only one that is under way is forced",
            _remedy(rollout),
        )
    spec, wave = spec_of(rollout), rollout.wave
    _check_meant(session, rollout, let_go)
    if rollout.asks == Asks.WAVE.value and _asked_wave(rollout) == wave:
        raise ConflictError(
            f"wave {wave + 1} of rollout {rollout.name} has not begun and waits for an approver",
            f"`argosy rollout approve {rollout.id}`",
        )
    last = wave + 1 >= len(spec.waves)
    if _holds(session, rollout, spec):
        _gate_answered(session, principal, rollout, remark, now)
    elif last:
        raise ConflictError(
            f"rollout {rollout.name} is in its last wave, and no gate holds it",
            "it finishes when its devices are done; `argosy rollout resume` if it is paused",
        )
    if not last:
        rollout.wave = wave + 1
        rollout.approved_waves = sorted({*rollout.approved_waves, wave + 1})
    rollout.asks = None
    access.audit(
        session, principal, "rollout.force", f"rollout/{rollout.id}", wave=wave, remark=remark
    )
    _record(session, principal, rollout, "forced", remark, wave=wave)
    return rollout


def accept(
    session: Session, principal: Principal, rollout_id: str, device_id: str, remark: str = ""
) -> Rollout:
    """Let a device go on whose shadow ended without a verdict; accepted again, nothing changes.

    Raises:
        NotFoundError: there is no such rollout, or the device is not of it.
        ConflictError: the device is not asking.
    """
    require(principal, Role.APPROVER)
    rollout = _taken(session, principal, rollout_id)
    rows = queries.attempts_of(session, rollout_id, device_id)
    if not rows:
        raise NotFoundError(f"device {device_id} is not of rollout {rollout.name}", SEE)
    row = rows[-1]
    word = shadow_of(rollout, row, fleet.get_device(session, principal, device_id))
    if word == ACCEPTED:
        return rollout
    asks = word == INCONCLUSIVE and row.state == ExecutionState.SHADOWING.value
    if not (asks and telling.accept_shadow(session, principal, rollout, row)):
        raise ConflictError(
            f"{device_id} is {row.state} and asks nobody about its shadow",
            "only a device whose shadow has ended INCONCLUSIVE is accepted by a person",
        )
    row.shadow = ACCEPTED
    session.add(row)
    fleet.touch(session, [device_id])
    access.audit(
        session, principal, "rollout.accept", f"rollout/{rollout_id}",
        device=device_id, attempt=row.attempt,
    )  # fmt: skip
    _record(session, principal, rollout, "accepted", remark, wave=row.wave, device_id=device_id)
    return rollout


def _operated(session: Session, principal: Principal, rollout_id: str) -> Rollout:
    require(principal, Role.OPERATOR)
    return _taken(session, principal, rollout_id)


def _taken(session: Session, principal: Principal, rollout_id: str) -> Rollout:
    """The rollout, kept from the engine until the transaction ends."""
    rollout = get(session, principal, rollout_id)
    session.refresh(rollout, with_for_update=True)
    return rollout


def _said(verb: str, principal: Principal, remark: str) -> str:
    return f"{verb} by {principal.name}" + (f": {remark}" if remark else "")


def _move(
    session: Session, principal: Principal, rollout: Rollout, event: RolloutEvent, said: str
) -> None:
    try:
        move(session, principal, rollout, event, time.time(), reason=said)
    except IllegalEvent as error:
        raise ConflictError(
            f"rollout {rollout.name} {_stands(rollout)} and cannot be {_DONE[event]}",
            _remedy(rollout),
        ) from error


def _stands(rollout: Rollout) -> str:
    return f"{_STANDS[rollout.state][0]} ({rollout.state})"


def _remedy(rollout: Rollout) -> str:
    """What fits in its state."""
    return _STANDS[rollout.state][1].format(id=rollout.id)


def _stop(session: Session, principal: Principal, rollout: Rollout, said: str) -> None:
    _move(session, principal, rollout, RolloutEvent.CANCEL_REQUESTED, said)
    rollout.asks = None


def _record(
    session: Session,
    principal: Principal,
    rollout: Rollout,
    kind: str,
    remark: str,
    *,
    wave: int | None = None,
    device_id: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write the journal, and have the engine look at the rollout anew."""
    rollout.revision += 1
    session.add(rollout)
    note(
        session, rollout, kind, by=principal.name, now=time.time(), text=remark,
        wave=rollout.wave if wave is None else wave, device_id=device_id, detail=detail,
    )  # fmt: skip


def _asked_wave(rollout: Rollout) -> int:
    """The wave whose beginning is asked about: the first one up to the next that wants it."""
    waves = rollout.spec["waves"]
    for number in range(min(rollout.wave + 2, len(waves))):
        if waves[number].get("needs_approval") and number not in rollout.approved_waves:
            return number
    return min(rollout.wave + 1, len(waves) - 1)


def _holds(session: Session, rollout: Rollout, spec: RolloutSpec) -> bool:
    """Whether the open wave's gate keeps it, so that a person has something to answer."""
    if spec.gates is None or not spec.waves[rollout.wave].gated:
        return False
    row = queries.last_gate(session, rollout.id, rollout.wave)
    return row is None or row.answered_by is None


def _check_meant(session: Session, rollout: Rollout, let_go: int | None) -> None:
    """Raises ConflictError where a force may not mean the wave that is open."""
    wave = rollout.wave
    if let_go is not None and let_go > wave:
        raise ConflictError(
            f"wave {let_go + 1} of rollout {rollout.name} is not open yet, wave {wave + 1} is",
            f"force wave {wave + 1} first, or leave the wave out",
        )
    if let_go is None and _is_just_forced(session, rollout.id, wave):
        raise ConflictError(
            f"wave {wave + 1} of rollout {rollout.name} was opened by force, and no device of it "
            "has ended since: nothing is done twice",
            f"to go past it, too, name it: "
            f"`argosy rollout force {rollout.id} --wave {wave + 1} --remark …`",
        )


def _is_just_forced(session: Session, rollout_id: str, wave: int) -> bool:
    """Whether a force opened the wave and none of its devices has ended."""
    if not queries.wave_is_noted(session, rollout_id, wave - 1, "forced"):
        return False
    ends = {state.value for state in TERMINAL_EXECUTION_STATES}
    counts = queries.latest_counts(session, rollout_id)
    return not any(number == wave and state in ends for number, state, _, _ in counts)


def _gate_answered(
    session: Session, principal: Principal, rollout: Rollout, remark: str, now: float
) -> RolloutGate:
    """The open wave's newest look, answered. Where nobody has looked yet, there is one that
    says so: what was let pass unseen is part of the record."""
    row = queries.last_gate(session, rollout.id, rollout.wave)
    if row is None:
        row = RolloutGate(
            rollout_id=rollout.id, wave=rollout.wave, look=1, at=now, settled=False,
            verdict=Verdict.INCONCLUSIVE.value, reason="let pass before anything was measured",
            figures={},
        )  # fmt: skip
    row.answered_by, row.answered_at, row.remark = principal.name, now, remark
    session.add(row)
    return row
