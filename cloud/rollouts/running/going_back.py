"""What a device had before a rollout, and whether it may go back to it."""

from __future__ import annotations

from sqlmodel import Session

from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.registry.models import Build
from cloud.rollouts import queries
from cloud.rollouts.models import Execution, Rollout
from protocol.messages import SlotDesired, SlotReported
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState

NOTHING_BEFORE = "nothing is known that was there before and could be desired again"
FOUND_WANTING = [
    state.value
    for state in (ExecutionState.REJECTED, ExecutionState.ROLLED_BACK, ExecutionState.NO_ARTIFACT)
]
"""Ends that speak against a build where it came to them."""


def left_for(slot: SlotDesired, said: SlotReported | None) -> str | None:
    """The build that a device runs in the place of the one that its slot desires, which it does
    not take up again by itself: somebody there gave it up or went back from it, or a start
    passed it over. None where nothing says so. Pure.

    said: the device's last word on the slot. It counts where it is of the very attempt that the
        slot desires, and that is over: until then the device may yet come to what is desired.
    """
    last = said.execution if said is not None else None
    if said is None or last is None or last.state not in TERMINAL_EXECUTION_STATES:
        return None
    desired = (slot.rollout_id, slot.attempt, slot.bundle_digest)
    if (last.rollout_id, last.attempt, last.bundle_digest) != desired:
        return None
    return said.running_digest if said.running_digest != slot.bundle_digest else None


def left_for_good(slot: SlotDesired, said: SlotReported | None) -> str | None:
    """As `left_for`, where a person at the device has decided so, or the build was found wanting
    there: nothing that may pass by itself. Pure."""
    serving = left_for(slot, said)
    if said is None or said.execution is None or serving is None:
        return None
    return serving if gave_up(said) or said.execution.state.value in FOUND_WANTING else None


def gave_up(said: SlotReported) -> bool:
    """Whether a person at the device went back, or gave its last attempt up. Pure."""
    return said.by_hand or (said.execution is not None and said.execution.by_hand)


def settled_on(said: SlotReported | None) -> str | None:
    """The build that a device serves for good where its slot desires nothing. None while an
    attempt may yet change that, and where the very build that runs came to nothing last. Pure."""
    last = said.execution if said is not None else None
    if said is None or last is None or last.state not in TERMINAL_EXECUTION_STATES:
        return None
    failed = last.state is not ExecutionState.SUCCEEDED
    return None if failed and last.bundle_digest == said.running_digest else said.running_digest


def had_before(session: Session, device: Device, model: str) -> SlotDesired | None:
    """What a device has of a model before its slot is changed: what the slot desires, or the
    build that really serves in its place; None where the registry does not know that one."""
    desired = fleet.desired(device)
    slot = desired.slots.get(model) if desired else None
    # Most devices run what they should; reports are parsed of the others only.
    if device.running.get(model) in (None, slot and slot.bundle_digest):
        return slot
    reported = fleet.reported(device)
    said = reported.slots.get(model) if reported else None
    serving = settled_on(said) if slot is None else left_for(slot, said)
    return slot if serving is None else wish_of(session, device, model, serving)


def wish_of(session: Session, device: Device, model: str, digest: str) -> SlotDesired | None:
    """As `own_wish`; None where the registry does not know that the model has such a build."""
    build = session.get(Build, digest)
    return own_wish(device, build) if build is not None and build.model == model else None


def own_wish(device: Device, build: Build) -> SlotDesired:
    """A build as a slot desires it outside of rollouts; whoever tells it sets the floor."""
    return SlotDesired(
        bundle_digest=build.digest,
        manifest_bytes=build.manifest_bytes,
        model=build.model,
        version=build.number,
        attempt=own_attempt(device),
    )


def own_attempt(device: Device) -> int:
    """A number that no earlier attempt outside of rollouts has on this device: a build that
    failed there once, or was left by hand, is taken on when it is asked for again."""
    return device.desired_generation + 1


def keeps_build(row: Execution) -> bool:
    """Whether an attempt to go back ended so that the device is to keep what it was to go back
    from: a person gave it up, or what was before was found wanting there. Pure."""
    return row.reverts and (row.by_hand or row.state in FOUND_WANTING)


class WayBack:
    """Builds that devices had, and whether they may serve again; each is looked up once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._against: dict[tuple[str, str, int], str] = {}
        self._taken_back: dict[str, bool] = {}

    def of(self, before: str | None, device_id: str) -> tuple[SlotDesired | None, str]:
        """What the device had, and what stands against it ("" where nothing does).

        Where the rollout that had brought it has been taken back since, nobody took it back here,
        for the slot was another's by then: it is what the device had before that one.

        before: what the device had, as JSON text of a `SlotDesired`.
        """
        slot = self._standing(before, device_id)
        if slot is None:
            return None, NOTHING_BEFORE
        key = (slot.bundle_digest, slot.model, slot.version)
        if key not in self._against:
            self._against[key] = against(self._session, slot)
        return slot, self._against[key]

    def _standing(self, before: str | None, device_id: str) -> SlotDesired | None:
        slot, seen = _slot_of(before), set()
        while slot is not None and self._is_taken_back(slot.rollout_id):
            key = (slot.rollout_id or "", slot.attempt)
            rows = queries.attempts_of(self._session, key[0], device_id)
            row = next((one for one in rows if one.attempt == slot.attempt), None)
            if row is not None and (row.reverts or keeps_build(rows[-1])):
                break
            slot = None if row is None or key in seen else _slot_of(row.before)
            seen.add(key)
        return slot

    def _is_taken_back(self, rollout_id: str | None) -> bool:
        if rollout_id is None:
            return False
        if rollout_id not in self._taken_back:
            rollout = self._session.get(Rollout, rollout_id)
            self._taken_back[rollout_id] = rollout is not None and rollout.reverting
        return self._taken_back[rollout_id]


def _slot_of(before: str | None) -> SlotDesired | None:
    return None if before is None else SlotDesired.model_validate_json(before)


def against(session: Session, slot: SlotDesired) -> str:
    """Why a build that a device had may not serve again; "" where it may."""
    name = f"{slot.model} v{slot.version}"
    if slot.version < registry.floor(session, slot.model):
        return f"{name}, which was before, is below the model's floor"
    build = session.get(Build, slot.bundle_digest)
    if build is None:
        return f"{name}, which was before, has been deleted"
    return "" if registry.admitted(build) else f"{name}, which was before, has been rejected"
