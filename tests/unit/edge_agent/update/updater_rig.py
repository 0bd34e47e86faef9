"""An updater between a simulated outbox and simulated steps, on a real disk."""

from __future__ import annotations

from random import Random

from edge_agent.config import Limits
from edge_agent.store import Store
from edge_agent.update.states import Outcome, Step, UpdateRecord, record_name
from edge_agent.update.updater import Updater
from edge_agent.update.updater_ports import UpdaterPorts
from protocol.messages import ExecutionReport, SlotDesired
from protocol.states import ExecutionEvent, ExecutionState

S, E = ExecutionState, ExecutionEvent
LIMITS = Limits()
PATH = [
    S.QUEUED,
    S.DOWNLOADING,
    S.DOWNLOADED,
    S.VERIFIED,
    S.PROVING,
    S.PREPARED,
    S.SWAPPING,
    S.PROBATION,
    S.COMMITTING,
    S.SUCCEEDED,
]


def wish(letter: str = "a", attempt: int = 1) -> SlotDesired:
    return SlotDesired(
        bundle_digest=letter * 64, manifest_bytes=10, model="m", version=1, attempt=attempt
    )


class SimulatedSteps:
    """Steps that wait until the test says how they end."""

    def __init__(self) -> None:
        self.begun: list[Step] = []
        self.cancelled = 0
        self.overdue = False
        self.retreats = 0
        self.running: str | None = None
        self.now_ends: Outcome | None = None

    def begin(
        self,
        step: Step,
        record: UpdateRecord,  # noqa: ARG002
        token: int,  # noqa: ARG002
        now: float,  # noqa: ARG002
    ) -> Outcome | None:
        self.begun.append(step)
        return None

    def tick(
        self,
        record: UpdateRecord,  # noqa: ARG002
        now: float,  # noqa: ARG002
        wall: float,  # noqa: ARG002
    ) -> Outcome | None:
        ended, self.now_ends = self.now_ends, None
        return ended

    def cancel(self, *, overdue: bool = False) -> None:
        self.overdue = overdue
        self.cancelled += 1

    def retreat(self) -> None:
        self.retreats += 1

    def running_digest(self) -> str | None:
        return self.running


class SimulatedOutbox:
    """Remembers what it was told, over restarts."""

    def __init__(self) -> None:
        self.reports: list[ExecutionReport] = []
        self.number = 0
        self.full = False

    def tell(self, number: int, report: ExecutionReport) -> bool:
        if self.full:
            return False
        if number > self.number:
            self.number = number
            self.reports.append(report)
        return True


class Rig:
    def __init__(self, store: Store, limits: Limits = LIMITS) -> None:
        self.store, self.limits = store, limits
        self.outbox = SimulatedOutbox()
        self.ended: list[UpdateRecord] = []
        self.remembers = True
        self.now = 0.0
        self.wall = 1.7e9
        self.restart()

    def restart(self) -> None:
        """A new process: only what is on the disk is known."""
        self.steps = SimulatedSteps()
        ports = UpdaterPorts(
            tell=self.outbox.tell,
            told=lambda: self.outbox.number,
            ended=self._end_told,
            changed=lambda: None,
            rests=lambda: False,
            passed_over=lambda digest: f"{digest[:2]} was damaged",
            rng=Random(1),
        )
        self.updater = Updater("slot", self.store, self.steps, self.limits, ports)

    def _end_told(self, record: UpdateRecord) -> bool:
        self.ended.append(record)
        return self.remembers

    def rise(self) -> None:
        """A new process takes up what it finds."""
        self.restart()
        self.updater.wake(self.now, self.wall)
        self.updater.resume(self.now, self.wall)

    def desire(self, desired: SlotDesired | None) -> None:
        self.updater.desire(desired, self.now, self.wall)

    def bring_to(self, state: ExecutionState, desired: SlotDesired | None = None) -> None:
        self.desire(desired or wish())
        while self.state is not state:
            if state is S.ROLLING_BACK and self.state is S.SWAPPING:
                self.end(Outcome(E.ROLLBACK_STARTED, "no"))
            elif state is S.BUILDING and self.state is S.VERIFIED:
                self.end(Outcome(E.BUILD_STARTED))
            else:
                self.end(Outcome())

    def end(self, outcome: Outcome) -> None:
        self.updater.end(outcome, self.now, self.wall)

    def tick(self, seconds: float = 0.1) -> None:
        self.now += seconds
        self.wall += seconds
        self.updater.tick(self.now, self.wall)

    @property
    def told(self) -> list[ExecutionReport]:
        return self.outbox.reports

    @property
    def states(self) -> list[ExecutionState]:
        return [report.state for report in self.told]

    @property
    def record(self) -> UpdateRecord:
        assert self.updater.record is not None
        return self.updater.record

    @property
    def state(self) -> ExecutionState:
        return self.record.state

    def on_disk(self) -> UpdateRecord:
        record = self.store.load(record_name("slot"), UpdateRecord)
        assert record is not None
        return record
