"""What steps do to what serves: the way back that fails, and a floor that rises in probation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge_agent.config import Limits
from edge_agent.errors import BundleError
from edge_agent.store import Store
from edge_agent.update.exchange import Exchange
from edge_agent.update.load import NoMemoryError
from edge_agent.update.slot import Slot
from edge_agent.update.states import Committed, Outcome, Step, UpdateRecord, committed_name
from edge_agent.update.step_parts import SlotParts, StepContext, StepEnded
from edge_agent.update.steps import SlotSteps
from edge_agent.update.trust import Accepted, Refusal, Refused, below_floor
from protocol.messages import SlotDesired
from protocol.states import ExecutionEvent, ExecutionState
from tests.fixtures.seeing import fake_bundle

S, E = ExecutionState, ExecutionEvent
GOOD, CANDIDATE, OTHER = "a" * 64, "c" * 64, "d" * 64


class Bench:
    """One slot's steps over a real exchange, with workers that do their jobs when asked.

    Attributes:
        broken: what reading or loading the bundle before raises.
        floor: the lowest version of the model that may serve.
        held: what is judged of the bundle before.
    """

    def __init__(self, store: Store) -> None:
        self.slot, self.broken = Slot("slot"), cast("Exception | None", None)
        self.floor, self.held = 1, cast("Accepted | Refused | OSError", Accepted(cast("Any", None)))
        self.damaged: list[str] = []
        self.loads: list[str] = []
        self.renewed = 0
        self.exchange = Exchange(self.slot, store)
        self._jobs: list[Callable[[], None]] = []
        self._ends: list[StepEnded] = []
        self.steps = SlotSteps("slot", self._parts(), self._context())

    def _parts(self) -> SlotParts:
        idle = SimpleNamespace(
            end=lambda: None, free=lambda _: True, close=lambda: None, forget=lambda: None,
            before=lambda _: None, begin=lambda *_: None, judge=lambda *_: None,
        )  # fmt: skip
        loader = SimpleNamespace(at_once=self._load, beside=lambda digest, _: self._load(digest))
        return cast(
            "SlotParts",
            SimpleNamespace(
                acquire=idle, exchange=self.exchange, loader=loader, deriving=idle, proving=idle,
                comparing=idle, watch=idle,
            ),
        )  # fmt: skip

    def _context(self) -> StepContext:
        judging = SimpleNamespace(
            bundles=SimpleNamespace(verify=self._verify),
            promised=lambda d: below_floor(d.model, d.version, {d.model: self.floor}),
            held=self._held,
        )
        return StepContext(
            limits=Limits(),
            judging=cast("Any", judging),
            submit=self._jobs.append,
            renew=self._renew,
            rescue=self._jobs.append,
            deliver=self._ends.append,
            prune=lambda: None,
            veto_until=lambda *_: None,
            damaged=self.damaged.append,
            left=lambda _: False,
        )

    def _held(self, _digest: str) -> Accepted | Refused:
        if isinstance(self.held, OSError):
            raise self.held
        return self.held

    def _verify(self, _digest: str, **_how: bool) -> None:
        if isinstance(self.broken, BundleError):
            raise self.broken

    def _load(self, digest: str) -> Any:
        if self.broken is not None:
            raise self.broken
        self.loads.append(digest)
        return fake_bundle(digest, 1)

    def _renew(self) -> None:
        self.renewed += 1

    def serves(self, digest: str | None) -> None:
        self.slot.exchange(None if digest is None else fake_bundle(digest, 1))

    def begin(self, step: Step, record: UpdateRecord) -> Outcome | None:
        """Begin a step and do what it gave to a worker."""
        outcome = self.steps.begin(step, record, 1, 0.0)
        for job in self._jobs:
            job()
        ends = [self.steps.ended(end) for end in self._ends]
        self._jobs.clear()
        self._ends.clear()
        return outcome or (ends[-1] if ends else None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def attempt(state: ExecutionState, previous: str | None = GOOD, **fields: Any) -> UpdateRecord:
    wanted = SlotDesired(bundle_digest=CANDIDATE, manifest_bytes=1, model="m", version=2)
    return UpdateRecord(
        slot="slot", desired=wanted, state=state, previous_digest=previous, **fields
    )


def test_the_bundle_before_is_put_back_from_the_disk(bench: Bench) -> None:
    bench.serves(CANDIDATE)
    outcome = bench.begin(Step.RESTORE, attempt(S.ROLLING_BACK, reason="it is slow"))
    assert outcome == Outcome(reason="it is slow")
    assert (bench.exchange.running, bench.loads) == (GOOD, [GOOD])


def test_a_candidate_goes_also_where_nothing_can_be_put_back(bench: Bench) -> None:
    """It had been told that it was rolled back, and went on serving."""
    bench.serves(CANDIDATE)
    bench.broken = BundleError("no bundle here")
    outcome = bench.begin(Step.RESTORE, attempt(S.ROLLING_BACK, reason="it is slow"))
    assert outcome == Outcome(reason="it is slow; what was before cannot serve: no bundle here")
    assert bench.exchange.running is None
    assert bench.damaged == [GOOD], "it is to be repaired"


def test_a_candidate_makes_room_for_what_is_to_come_back(bench: Bench, store: Store) -> None:
    bench.serves(CANDIDATE)
    store.save(committed_name("slot"), Committed(digest=CANDIDATE, previous_digest=GOOD))
    bench.broken = NoMemoryError("no memory")
    going_back = attempt(S.ROLLING_BACK)
    outcome = bench.begin(Step.RESTORE, going_back)
    assert outcome is not None and outcome.retry
    assert bench.exchange.running is None
    known = store.load(committed_name("slot"), Committed)
    assert known is not None and known.digest == GOOD
    bench.broken = None
    assert bench.begin(Step.RESTORE, going_back) == Outcome()
    assert bench.exchange.running == GOOD


@pytest.mark.parametrize("error", [BundleError("it is gone"), NoMemoryError("no memory")])
def test_what_was_put_in_the_place_of_a_candidate_meanwhile_stays(
    bench: Bench, error: Exception
) -> None:
    bench.broken = error
    assert bench.steps.begin(Step.RESTORE, attempt(S.ROLLING_BACK), 1, 0.0) is None
    bench.serves(OTHER)  # nothing had served, and something could by now
    bench.begin(Step.RESTORE, attempt(S.ROLLING_BACK))
    assert bench.exchange.running == OTHER


def test_a_candidate_that_is_revoked_in_probation_goes_back(bench: Bench) -> None:
    bench.serves(CANDIDATE)
    record = attempt(S.PROBATION)
    assert bench.begin(Step.WATCH, record) is None
    assert bench.steps.tick(record, 1.0, 1.0) is None
    bench.floor = 3
    outcome = bench.steps.tick(record, 2.0, 2.0)
    assert outcome is not None
    assert (outcome.event, "m v2 is revoked" in outcome.reason) == (E.ROLLBACK_STARTED, True)


@pytest.mark.parametrize(
    ("previous", "held"),
    [
        (None, Accepted(cast("Any", None))),
        (GOOD, Refused(Refusal.REVOKED, "m v1 is revoked too")),
        (GOOD, OSError(5, "Input/output error")),
    ],
)
def test_a_revoked_candidate_stays_where_what_was_before_may_serve_no_more(
    bench: Bench, previous: str | None, held: Accepted | Refused | OSError
) -> None:
    bench.serves(CANDIDATE)
    bench.floor, bench.held = 3, held
    record = attempt(S.PROBATION, previous)
    assert bench.begin(Step.WATCH, record) is None
    assert bench.steps.tick(record, 1.0, 1.0) is None


def test_before_its_window_a_candidate_is_loaded_only_once_the_disk_says_that_it_may_be(
    bench: Bench,
) -> None:
    """Should loading it end the agent, the start after knows whose doing that was."""
    waits = attempt(S.WAITING_WINDOW, waiting="its window opens at two")
    assert not waits.holds_candidate
    assert bench.begin(Step.AWAIT_WINDOW, waits) is None
    assert bench.steps.tick(waits, 1.0, 1.0) == Outcome(note=True)
    opened = waits.model_copy(update={"waiting": ""})
    assert opened.holds_candidate
    assert bench.steps.tick(opened, 2.0, 2.0) is None, "it is being loaded"
    bench.begin(Step.AWAIT_WINDOW, opened)
    assert bench.loads == [CANDIDATE]


def test_a_job_that_hangs_keeps_no_other_waiting(bench: Bench) -> None:
    """The worker is every slot's: one load that did not come back had ended all updates."""
    waits = attempt(S.PREPARED)
    assert bench.steps.begin(Step.AWAIT_WORD, waits, 1, 0.0) is None
    bench.steps.cancel(overdue=True)
    assert bench.renewed == 0, "nothing runs there"
    bench.steps.begin(Step.AWAIT_WORD, waits, 2, 0.0)
    assert bench.steps.tick(waits, 1.0, 1.0) is None, "it is being loaded"
    bench.steps.cancel()
    assert bench.renewed == 0, "it ends soon"
    bench.steps.begin(Step.AWAIT_WORD, waits, 3, 0.0)
    bench.steps.tick(waits, 2.0, 2.0)
    bench.steps.cancel(overdue=True)
    assert bench.renewed == 1
