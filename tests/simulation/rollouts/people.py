"""People beside a rollout: they answer it late, and do things to it that nobody asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from cloud.rollouts.states import Asks, RolloutEvent, RolloutState
from protocol.states import ExecutionState, Verdict
from tests.simulation.rollouts.builds import OTHER
from tests.simulation.rollouts.devices import ROLLOUT, Slot
from tests.simulation.rollouts.hub import BY_HAND, NEWER, PIN, Hub, asked_wave

OTHER_BUILD = "c" * 64


@dataclass(slots=True)
class People:
    """What they do, a tick, by chance.

    Attributes:
        abort_at: the tick in which they give the rollout up; with `reverts` they take it back.
        newer_at: that in which a rollout that outranks this one takes some of its devices.
        bar_at: that in which the build of before may serve no more.
        meddle: chance of doing something that nobody asked for.
        patient_for: ticks after which they only answer what they are asked.
    """

    rng: Random
    abort_at: int = -1
    reverts: bool = False
    newer_at: int = -1
    bar_at: int = -1
    meddle: float = 0.0
    patient_for: int = 150
    tick: int = 0

    def act(self, hub: Hub) -> None:
        """One tick of theirs."""
        self.tick += 1
        if _is_under_way(hub):
            self._answer(hub)
        if _is_under_way(hub) and self.tick >= self.abort_at >= 0:
            hub.say(f"a person gives it up; back: {self.reverts}")
            hub.abort("a person gave it up", revert=self.reverts)
        if self.tick == self.newer_at:
            self._take_some(hub)
        if self.tick == self.bar_at:
            hub.barred = "its version is below the floor"
            hub.touched |= set(hub.rows)
        if self.tick < self.patient_for and self.rng.random() < self.meddle:
            self._meddle(hub)

    def _answer(self, hub: Hub) -> None:
        """Answer what is asked, and let go on what was paused, after a while."""
        self._accept_shadows(hub)
        if hub.rollout.asks is not None and self.rng.random() < 0.3:
            wave = asked_wave(hub.rollout) if hub.rollout.asks is Asks.WAVE else None
            hub.say(f"a person answers {hub.rollout.asks.value}")
            hub.answer(wave=wave)
        if hub.rollout.state is RolloutState.PAUSED and self.rng.random() < 0.2:
            self._unpause(hub)

    def _unpause(self, hub: Hub) -> None:
        """Go on. Past a FAIL only by force; some give it up instead, and all do at last."""
        if self.tick > self.patient_for * 2:
            hub.say("a person has had enough")
            hub.abort("a person had enough", revert=self.reverts)
            return
        gate = hub.verdicts.get(hub.rollout.wave)
        failed = gate is not None and gate.verdict is Verdict.FAIL and not gate.answered
        if failed and self.rng.random() < 0.5:
            hub.say("a person takes it back")
            hub.abort("a person took it back", revert=True)
            return
        if failed:
            hub.say("a person lets it pass by force")
            hub.answer()
        hub.say("a person resumes it")
        hub.resume()

    def _accept_shadows(self, hub: Hub) -> None:
        for device_id in hub.rows if hub.shadow else ():
            row, slot = hub.latest(device_id), hub.slots[device_id]
            asks = row.asks and row.state is ExecutionState.SHADOWING
            mine = slot is not None and slot.owner == ROLLOUT and not slot.accepted
            if asks and mine and slot is not None and self.rng.random() < 0.1:
                row.asks = False
                hub.tell(device_id, replace(slot, accepted=True))

    def _take_some(self, hub: Hub) -> None:
        """A newer rollout: some slots it changes at once, some when their turn comes."""
        hub.say("a newer rollout takes some of the devices")
        for device_id in sorted(hub.rows):
            if self.rng.random() < 0.4:
                hub.newer.add(device_id)
                hub.touched.add(device_id)
                if self.rng.random() < 0.5 and device_id not in hub.pinned:
                    hub.tell(device_id, Slot(OTHER_BUILD, NEWER))

    def _meddle(self, hub: Hub) -> None:
        device_id = self.rng.choice(sorted(hub.rows))
        match self.rng.randrange(4):
            case 0 if hub.rollout.state is RolloutState.RUNNING:
                hub.say("a person pauses it")
                hub.move(RolloutEvent.PAUSED)
            case 1 if device_id not in hub.pinned:
                hub.say(f"a person pins {device_id}")
                hub.pinned[device_id] = hub.slots[device_id]
                hub.tell(device_id, Slot(self.rng.choice([OTHER, OTHER_BUILD]), PIN))
            case 2 if hub.pinned:
                self._unpin(hub)
            case 3 if device_id not in hub.pinned:
                hub.say(f"a person sets the slot of {device_id}")
                hub.tell(device_id, Slot(OTHER_BUILD, BY_HAND))

    def _unpin(self, hub: Hub) -> None:
        """The slot gets back what it had; an attempt that the pin has ended is not taken up."""
        device_id = self.rng.choice(sorted(hub.pinned))
        before, row = hub.pinned.pop(device_id), hub.latest(device_id)
        if before is not None and before.owner == ROLLOUT:
            standing = row.state is ExecutionState.SUCCEEDED and before.attempt == row.attempt
            before = before if standing else row.before
        hub.say(f"a person unpins {device_id}")
        hub.tell(device_id, before)


def _is_under_way(hub: Hub) -> bool:
    return hub.rollout.state in (RolloutState.RUNNING, RolloutState.PAUSED)
