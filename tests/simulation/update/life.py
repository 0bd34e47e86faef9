"""One life of the simulated agent: from a start to its death, with the real updates in it.

`begin` and `receive` do what `edge_agent.agent.Agent` does around `Slots`, in its order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from edge_agent.detect.options import LoadOptions
from edge_agent.observe.service import ServiceSink
from edge_agent.report import DesiredState
from edge_agent.store import Store
from edge_agent.update.by_hand import ReturnEnded
from edge_agent.update.fetch import ChunkRead
from edge_agent.update.probation import SlotHealth
from edge_agent.update.shadowing import Shadowing
from edge_agent.update.slot import Slot
from edge_agent.update.slots import SlotPorts, Slots
from edge_agent.update.step_parts import StepEnded
from protocol.messages import Desired
from tests.simulation.update.disk import Disk
from tests.simulation.update.ports import CAPABILITIES, Detector, Service, Shadow

if TYPE_CHECKING:
    from tests.simulation.update.world import World

SLOT = "line"


class Life:
    """A process. It may die in any call, by `Died`; `bury` then closes what a kernel would."""

    def __init__(self, world: World, disk: Disk) -> None:
        self.world, self.disk = world, disk
        self.inbox: deque[Any] = deque()
        self.jobs: deque[Callable[[], None]] = deque()
        self.detectors: list[tuple[str, Detector]] = []
        self.slot = Slot(SLOT)
        self.generation = 0
        self.store = Store(world.data)
        self.begun = False

    def begin(self) -> None:
        """Start as the agent does."""
        now, wall = self.world.now, self.world.wall
        self.store.open()
        self.slots = Slots({SLOT: self.slot}, self.store, self.world.limits, self._ports())
        self.slots.serve_from_disk(now, wall)
        self.begun = True
        known = self.store.load("desired", DesiredState)
        self.slots.resume(now, wall)
        if known is not None:
            self._follow(known.desired)

    def bury(self) -> None:
        self.store.close()

    def stop(self) -> None:
        """End as SIGTERM asks for."""
        self.slots.stop(self.world.now)
        self.store.close()

    # ---- one thing after the other -----------------------------------------------------

    def tick(self) -> None:
        self.slots.tick(self.world.now, self.world.wall)

    def take_one(self) -> None:
        """One item of the inbox."""
        item = self.inbox.popleft()
        now, wall = self.world.now, self.world.wall
        if isinstance(item, StepEnded):
            self.slots.step_ended(item, now, wall)
        elif isinstance(item, ReturnEnded):
            self.slots.return_ended(item)
        elif isinstance(item, ChunkRead):
            self.slots.take_chunk(item, now, wall)
        elif isinstance(item, Desired):
            self._on_desired(item)

    def link_up(self) -> None:
        self.slots.link_restored()

    def _on_desired(self, desired: Desired) -> None:
        if desired.generation < self.generation:
            return
        if desired.generation > self.generation:
            try:
                self.store.save("desired", DesiredState(desired=desired))
            except OSError:
                self.world.count("desired_not_persisted")
        self._follow(desired)

    def _follow(self, desired: Desired) -> None:
        self.generation = desired.generation
        self.slots.desire(desired, self.world.now, self.world.wall)

    # ---- what is loaded ----------------------------------------------------------------

    def open_detectors(self) -> list[str]:
        """The digests of what is loaded and was not let go."""
        return [digest for digest, detector in self.detectors if not detector.closed]

    def _ports(self) -> SlotPorts:
        world, disk = self.world, self.disk
        return SlotPorts(
            transport=world.network.transport(self.jobs.append, self.inbox.append),
            submit=self.jobs.append,
            renew=lambda: None,
            rescue=self.jobs.append,
            deliver=self.inbox.append,
            tell=lambda slot, number, report: world.outbox.tell(disk, slot, number, report),
            told=lambda slot: world.outbox.told.get(slot, 0),
            alert=world.alert,
            turned=lambda _slot, turn: world.turned(disk, turn),
            changed=lambda: None,
            health=lambda _slot: SlotHealth(),
            options=lambda _slot: LoadOptions(),
            capabilities=lambda: CAPABILITIES,
            service=cast(ServiceSink, Service(world.rng)),
            shadowing=cast(Shadowing, Shadow()),
            monotonic=lambda: world.now,
            wall=lambda: world.wall,
            rng=world.rng,
        )
