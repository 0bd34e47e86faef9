"""All slots of a device on a real disk, with real bundles, beside a simulated agent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from edge_agent.clock import Clock
from edge_agent.config import Limits
from edge_agent.detect.options import LoadOptions
from edge_agent.journal import Journal
from edge_agent.link.outbox import Outbox, Quota
from edge_agent.observe.hardware import capabilities
from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.by_hand import ReturnEnded
from edge_agent.update.fetch import Transport
from edge_agent.update.probation import SlotHealth
from edge_agent.update.slot import Slot
from edge_agent.update.slots import SlotPorts, Slots
from edge_agent.update.states import Committed, committed_name
from protocol.messages import (
    Alert,
    Desired,
    EventReport,
    ExecutionReport,
    SlotDesired,
    decode,
)
from protocol.topics import Kind
from tests.fixtures.models import write_bundle

LIMITS = Limits(memory_free_bytes_min=0)


class Box:
    """A device with the slots `line` and `other`. Jobs wait until `work` is called."""

    def __init__(self, folder: Path) -> None:
        self.health = SlotHealth()
        self.folder, self.now, self.wall = folder, 100.0, 1.7e9
        self.store = Store(folder / "data")
        self.bundles = BundleStore(self.store.bundles, self.store.compiled)
        self.numbers: dict[str, int] = {}
        self.reports: list[ExecutionReport] = []
        self.alerts: list[str] = []
        self.refuses = False
        self.outbox: Outbox | None = None

    def place(self, version: int) -> str:
        """A whole bundle on the disk; its digest."""
        made = self.folder / f"made-{version}"
        digest, _ = write_bundle(made, variant=version, version=version)
        shutil.rmtree(self.bundles.path(digest), ignore_errors=True)
        made.rename(self.bundles.path(digest))
        return digest

    def commit(self, slot: str, digest: str, previous: str | None = None) -> None:
        self.store.save(committed_name(slot), Committed(digest=digest, previous_digest=previous))

    def committed(self, slot: str = "line") -> Committed:
        found = self.store.load(committed_name(slot), Committed)
        assert found is not None
        return found

    def start(self) -> None:
        """A new process: only what is on the disk is known."""
        self.die()
        self.outbox = Outbox(self.store.outbox, "box-1", Quota(10**6, 10**6))
        self.journal = Journal("box-1", self.outbox, Clock(), image_bytes_max=1000)
        self.jobs: list[Callable[[], None]] = []
        self.inbox: list[Any] = []
        self.slots = {name: Slot(name) for name in ("line", "other")}
        self.updates = Slots(self.slots, self.store, LIMITS, self._ports())
        self.updates.serve_from_disk(self.now, self.wall)
        self.updates.resume(self.now, self.wall)

    def die(self) -> None:
        """The process is gone, and with it what it had opened."""
        if self.outbox is not None:
            self.outbox.close()
        self.outbox = None

    def tick(self, seconds: float = 0.1) -> None:
        self.now, self.wall = self.now + seconds, self.wall + seconds
        self.updates.tick(self.now, self.wall)

    def work(self) -> None:
        """What was begun beside comes to its end, and the agent hears of it."""
        while self.jobs:
            self.jobs.pop(0)()
        while self.inbox:
            item = self.inbox.pop(0)
            if isinstance(item, ReturnEnded):
                self.updates.return_ended(item)

    def serves(self, slot: str = "line") -> str | None:
        current = self.slots[slot].current()
        return None if current is None else current.digest

    def desire(self, generation: int, **slots: SlotDesired) -> None:
        desired = Desired(device_id="d", generation=generation, slots=slots)
        self.updates.desire(desired, self.now, self.wall)

    def _tell(self, key: str, number: int, report: ExecutionReport) -> bool:
        """As the outbox does: a number of a key once."""
        if self.refuses:
            return False
        if number > self.numbers.get(key, 0):
            self.numbers[key] = number
            self.reports.append(report)
        return True

    def turns(self) -> list[Alert]:
        """What the hub hears of bundles that took over."""
        assert self.outbox is not None
        found = []
        for entry in self.outbox.after("events", 0, 100):
            message = decode(Kind.EVENTS, entry.payload)
            assert isinstance(message, EventReport) and message.alert is not None
            found.append(message.alert)
        return found

    def names(self) -> list[str]:
        """The names of all alerts; of the turns last."""
        return [*self.alerts, *(alert.name for alert in self.turns())]

    def _ports(self) -> SlotPorts:
        unused: Any = None
        transport = Transport(
            connected=lambda: False,
            want=lambda _wanted: False,
            listen=lambda _sha256: None,
            unlisten=lambda _sha256: None,
            read_http=unused,
            submit=self.jobs.append,
            deliver=lambda _chunk: None,
        )
        return SlotPorts(
            transport=transport,
            submit=self.jobs.append,
            renew=lambda: None,
            rescue=self.jobs.append,
            deliver=self.inbox.append,
            tell=self._tell,
            told=lambda key: self.numbers.get(key, 0),
            alert=lambda name, _text: self.alerts.append(name),
            turned=self.journal.turned,
            changed=lambda: None,
            health=lambda _slot: self.health,
            options=lambda _slot: LoadOptions(threads=1),
            capabilities=capabilities,
            service=unused,
            shadowing=unused,
            monotonic=lambda: self.now,
            wall=lambda: self.wall,
            rng=Random(1),
        )
