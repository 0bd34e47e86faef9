"""What the hub desires of slots that no camera of this device feeds: it hears so, once."""

from __future__ import annotations

from collections.abc import Callable, Collection

from protocol.messages import Desired, ExecutionReport, SlotDesired
from protocol.states import ExecutionState


class Unfed:
    """Says it again until the disk has accepted it. Used by the agent's thread.

    Attributes:
        tell: keep a report by a key and a number, as `SlotPorts.tell`.
    """

    def __init__(
        self, fed: Collection[str], tell: Callable[[str, int, ExecutionReport], bool]
    ) -> None:
        self._fed, self._tell = frozenset(fed), tell
        self._generation = 0
        self._wanted: dict[str, SlotDesired] = {}
        self._told: dict[str, SlotDesired] = {}

    def desire(self, desired: Desired) -> None:
        """The hub desires this of the device."""
        self._generation = desired.generation
        self._wanted = {s: wanted for s, wanted in desired.slots.items() if s not in self._fed}
        self._told = {slot: told for slot, told in self._told.items() if slot in self._wanted}
        self.tick()

    def tick(self) -> None:
        """Tell what is not told yet."""
        for slot, wanted in self._wanted.items():
            if self._told.get(slot) == wanted:
                continue
            # A slot may have been fed once: its own key counts its transitions.
            if self._tell(f"unfed:{slot}", self._generation, _report(slot, wanted)):
                self._told[slot] = wanted


def _report(slot: str, wanted: SlotDesired) -> ExecutionReport:
    return ExecutionReport(
        rollout_id=wanted.rollout_id,
        attempt=wanted.attempt,
        slot=slot,
        bundle_digest=wanted.bundle_digest,
        state=ExecutionState.NO_ARTIFACT,
        reason=f"no camera of this device feeds the slot {slot}; give one `slot` = {slot!r}"[:2048],
    )
