"""What a rollout makes of a device's desired state.

Every verb here sets one slot through the fleet slice, which publishes a new generation
after the commit, and none where nothing changed: so each may be repeated. None of them counts
the device as changed: whoever moves an execution does, or is the engine and looks itself.
"""

from __future__ import annotations

from sqlmodel import Session

from cloud.access.principal import Principal, service_principal
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.rollouts import queries
from cloud.rollouts.models import DevicePin, Execution, Rollout
from cloud.rollouts.request.spec import RolloutSpec, spec_of
from cloud.rollouts.running.going_back import (
    WayBack,
    against,
    had_before,
    keeps_build,
    wish_of,
)
from protocol.messages import MaintenanceWindow, ShadowPolicy, SlotDesired
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState

ENGINE = service_principal("rollouts")
_OPEN = [state.value for state in ExecutionState if state not in TERMINAL_EXECUTION_STATES]


def desired_of(rollout: Rollout, device: Device) -> SlotDesired | None:
    """What the rollout made the device's desired slot, while it still stands."""
    slot = _slot(rollout, device)
    return slot if slot is not None and slot.rollout_id == rollout.id else None


def stands(session: Session, rollout: Rollout, row: Execution) -> bool:
    """Whether the execution's device is still to run this rollout's build. Where it says CANCELED
    then, somebody there gave the attempt up."""
    return desired_of(rollout, fleet.get_device(session, ENGINE, row.device_id)) is not None


def accept_shadow(session: Session, principal: Principal, rollout: Rollout, row: Execution) -> bool:
    """Let the device go on without a verdict; False where it is not asked for one any more."""
    device = fleet.get_device(session, principal, row.device_id)
    standing = desired_of(rollout, device)
    if standing is None or standing.shadow is None:
        return False
    accepted = standing.shadow.model_copy(update={"accepted": True})
    wanted = standing.model_copy(update={"shadow": accepted})
    Teller(session, rollout, principal).tell(device, wanted)
    return True


def withdraw(session: Session, rollout: Rollout, row: Execution) -> None:
    """As `Teller.withdraw`, of one device."""
    device = fleet.get_device(session, ENGINE, row.device_id)
    Teller(session, rollout).withdraw(row, device)


class Teller:
    """Sets one rollout's slot on devices, in one transaction, with the floor of its beginning."""

    def __init__(self, session: Session, rollout: Rollout, principal: Principal = ENGINE) -> None:
        self._session, self._rollout, self._principal = session, rollout, principal
        self._floor = registry.floor(session, rollout.model)
        self._way_back = WayBack(session)
        self._spec: RolloutSpec | None = None
        self._zones: dict[str | None, str] = {}

    def before(self, row: Execution, device: Device) -> str | None:
        """What the device had before the rollout, as JSON text; an earlier attempt of the rollout
        remembers it, while the slot still desires that one."""
        if desired_of(self._rollout, device) is not None:
            return row.before
        slot = had_before(self._session, device, self._rollout.model)
        return slot.model_dump_json() if slot else None

    def bring(self, row: Execution, device: Device, digest: str) -> None:
        """Desire the build `digest`, with the rollout's policies."""
        self._spec = spec = self._spec or spec_of(self._rollout)
        build = next(b for b in self._rollout.builds if b["digest"] == digest)
        shadow = ShadowPolicy.model_validate(spec.shadow.model_dump()) if spec.shadow else None
        wanted = SlotDesired(
            bundle_digest=digest,
            manifest_bytes=build["manifest_bytes"],
            model=self._rollout.model,
            version=self._rollout.version,
            rollout_id=self._rollout.id,
            attempt=row.attempt,
            probation_s=spec.probation_s,
            hold=row.held,
            shadow=shadow,
            window=self._window(spec, device),
            timeout_s=spec.timeout_s,
        )
        self.tell(device, wanted)

    def bring_back(self, row: Execution, device: Device) -> str:
        """Desire what was before as an attempt of this rollout, so that the device tells of it.
        Returns why it may not serve again, and nothing is done then; "" where it is done."""
        back, reason = self._back(row)
        if back is not None:
            own = {"rollout_id": self._rollout.id, "attempt": row.attempt}
            self.tell(device, back.model_copy(update=own))
        return reason

    def release(self, device: Device) -> bool:
        """Take the hold away; False where the slot does not desire this rollout any more."""
        standing = desired_of(self._rollout, device)
        if standing is None:
            return False
        self.tell(device, standing.model_copy(update={"hold": False}))
        return True

    def withdraw(self, row: Execution, device: Device) -> None:
        """Where the slot still desires this rollout, desire what was before, or nothing where
        that may not serve again: what runs stays then.

        So a device that comes back late does not install what was given up meanwhile, and a
        desired state never names a build that failed there. Nor does it where an attempt to go
        back comes to nothing: what was to be taken back is desired again, and stays.
        """
        kept = self._kept(device) if keeps_build(row) else None
        if desired_of(self._rollout, device) is not None:
            self.tell(device, kept if keeps_build(row) else self._back(row)[0])
        if row.started_at is not None:
            text = None if kept is None else kept.model_dump_json()
            self._forget(row, text if keeps_build(row) else row.before)

    def tell(self, device: Device, wanted: SlotDesired | None) -> None:
        """Set the rollout's slot, with the floor as it is now; where it desires nothing any more
        the floor is told all the same."""
        if wanted is not None:
            wanted = wanted.model_copy(update={"floor": self._floor_of(wanted.model)})
        slots, floors = {self._rollout.model: wanted}, {self._rollout.model: self._floor}
        fleet.change_desired(
            self._session, self._principal, device.id, slots=slots, floors=floors, known=True
        )

    def _forget(self, row: Execution, before: str | None) -> None:
        """Another rollout or a pin took the slot before the attempt came to nothing: what was
        before this one is what was before that one."""
        model = self._rollout.model
        held: list[Execution | DevicePin | None] = [
            other for other, _ in queries.on_device(self._session, row.device_id, model, _OPEN)
        ]
        for one in (*held, self._session.get(DevicePin, (row.device_id, model))):
            slot = one and one.before and SlotDesired.model_validate_json(one.before)
            if one and slot and (slot.rollout_id, slot.attempt) == (row.rollout_id, row.attempt):
                one.before = before
                self._session.add(one)

    def _kept(self, device: Device) -> SlotDesired | None:
        """The rollout's own build that the device has, by the attempt that had brought it, which
        the device knows; None where that may not serve."""
        rows = queries.attempts_of(self._session, self._rollout.id, device.id)
        done = ExecutionState.SUCCEEDED.value
        last = next((r for r in reversed(rows) if not r.reverts and r.state == done), None)
        if last is None or last.digest is None:
            return None
        wish = wish_of(self._session, device, self._rollout.model, last.digest)
        if wish is None or against(self._session, wish):
            return None
        return wish.model_copy(update={"rollout_id": self._rollout.id, "attempt": last.attempt})

    def _back(self, row: Execution) -> tuple[SlotDesired | None, str]:
        """What was before, or None with why that may not serve again. It has served there: it is
        not held, and not compared, a second time."""
        slot, reason = self._way_back.of(row.before, row.device_id)
        if slot is None or reason:
            return None, reason
        return slot.model_copy(update={"hold": False, "shadow": None}), ""

    def _floor_of(self, model: str) -> int:
        own = model == self._rollout.model
        return self._floor if own else registry.floor(self._session, model)

    def _window(self, spec: RolloutSpec, device: Device) -> MaintenanceWindow | None:
        """The rollout's window, on the clock of the device's site where it names none."""
        if spec.window is None:
            return None
        if device.site not in self._zones:
            self._zones[device.site] = fleet.time_zone(self._session, device)
        return spec.window.on_clock(self._zones[device.site])


def _slot(rollout: Rollout, device: Device) -> SlotDesired | None:
    desired = fleet.desired(device)
    return desired.slots.get(rollout.model) if desired else None
