"""Every state of an update, with success, error, timer, kill and a newer wish: one table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.config import Limits
from edge_agent.store import Store
from edge_agent.update.states import (
    FAILURE,
    STEPS,
    SUCCESS,
    Committed,
    Outcome,
    SlotHealth,
    Step,
    UpdateRecord,
    boot_digest,
    judge_probation,
    record_name,
    resume_event,
    timer_s,
)
from edge_agent.update.updater import Updater
from protocol.messages import ExecutionReport, SlotDesired
from protocol.states import (
    BEFORE_EXCHANGE,
    EXECUTION_TABLE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)

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

    def tick(self, now: float) -> Outcome | None:  # noqa: ARG002
        ended, self.now_ends = self.now_ends, None
        return ended

    def cancel(self) -> None:
        self.cancelled += 1

    def running_digest(self) -> str | None:
        return self.running


class Rig:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.told: list[ExecutionReport] = []
        self.now = 0.0
        self.restart()

    def restart(self) -> None:
        """A new process: only what is on the disk is known."""
        self.steps = SimulatedSteps()
        self.updater = Updater("slot", self.store, self.steps, LIMITS, self.told.append)

    def bring_to(self, state: ExecutionState, desired: SlotDesired | None = None) -> None:
        self.updater.desire(desired or wish(), self.now, 0.0)
        while self.state is not state:
            if state is S.ROLLING_BACK and self.state is S.SWAPPING:
                self.end(Outcome(E.ROLLBACK_STARTED, "no"))
            else:
                self.end(Outcome())

    def end(self, outcome: Outcome) -> None:
        self.updater.end(outcome, self.now, 0.0)

    @property
    def state(self) -> ExecutionState:
        assert self.updater.record is not None
        return self.updater.record.state

    def on_disk(self) -> UpdateRecord:
        record = self.store.load(record_name("slot"), UpdateRecord)
        assert record is not None
        return record


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    store = Store(tmp_path)
    store.open()
    yield Rig(store)
    store.close()


def test_the_whole_path_is_persisted_and_told_step_by_step(rig: Rig) -> None:
    rig.updater.desire(wish(), 0.0, 0.0)
    while rig.state is not S.SUCCEEDED:
        assert rig.on_disk().state is rig.state
        assert rig.steps.begun[-1] is STEPS[rig.state]
        rig.end(Outcome())
    assert [report.state for report in rig.told] == PATH


def test_every_working_state_has_its_step_and_its_success() -> None:
    assert set(STEPS) == set(SUCCESS)
    for state, event in SUCCESS.items():
        assert (state, event) in EXECUTION_TABLE


ERRORS = [(state, S.FAILED) for state in PATH[:6]] + [
    (S.SWAPPING, S.ROLLING_BACK),
    (S.PROBATION, S.ROLLING_BACK),
    (S.COMMITTING, S.ROLLING_BACK),
    (S.ROLLING_BACK, S.ROLLED_BACK),
]


@pytest.mark.parametrize(("state", "after"), ERRORS)
def test_error_in(state: ExecutionState, after: ExecutionState, rig: Rig) -> None:
    rig.bring_to(state)
    rig.end(Outcome(FAILURE[state], "it broke"))
    assert rig.state is after
    assert rig.told[-1].reason == "it broke"
    assert rig.on_disk().state is after
    assert (rig.steps.cancelled == 1) is (state in BEFORE_EXCHANGE)


KILLED = [
    (S.QUEUED, True, S.QUEUED),
    (S.DOWNLOADING, True, S.DOWNLOADING),
    (S.DOWNLOADED, True, S.DOWNLOADED),
    (S.VERIFIED, True, S.VERIFIED),
    (S.PROVING, True, S.PROVING),
    (S.PREPARED, True, S.PREPARED),
    (S.SWAPPING, True, S.ROLLING_BACK),
    (S.PROBATION, True, S.ROLLING_BACK),
    (S.PROBATION, False, S.PROBATION),
    (S.COMMITTING, True, S.COMMITTING),
    (S.ROLLING_BACK, True, S.ROLLING_BACK),
]


@pytest.mark.parametrize(("state", "has_good", "after"), KILLED)
def test_killed_in(state: ExecutionState, has_good: bool, after: ExecutionState, rig: Rig) -> None:
    if has_good:
        rig.store.save("slot-slot", Committed(digest="9" * 64))
    rig.bring_to(state)
    told = len(rig.told)
    rig.restart()
    rig.updater.resume(0.0, 0.0)
    assert rig.state is after
    assert rig.steps.begun == [STEPS[after]]
    assert (len(rig.told) > told) is (after is not state)


@pytest.mark.parametrize("state", [s for s in PATH if s is not S.SUCCEEDED])
def test_a_loop_of_restarts_ends(state: ExecutionState, rig: Rig) -> None:
    rig.store.save("slot-slot", Committed(digest="9" * 64))
    rig.bring_to(state)
    for _ in range(LIMITS.update_stores_max + 1):
        if rig.updater.record is not None and rig.updater.record.terminal:
            break
        rig.restart()
        rig.updater.resume(0.0, 0.0)
        if rig.state is S.ROLLING_BACK:
            rig.end(Outcome())
    assert rig.state in (S.FAILED, S.ROLLED_BACK)


@pytest.mark.parametrize("state", [s for s in BEFORE_EXCHANGE if s in PATH])
def test_a_newer_wish_supersedes_before_the_exchange(state: ExecutionState, rig: Rig) -> None:
    rig.bring_to(state)
    rig.updater.desire(wish("b", 2), 0.0, 0.0)
    assert [r.state for r in rig.told[-2:]] == [S.SUPERSEDED, S.QUEUED]
    assert rig.steps.cancelled == 1
    assert rig.on_disk().desired.bundle_digest == "b" * 64


@pytest.mark.parametrize("state", [S.SWAPPING, S.PROBATION, S.COMMITTING, S.ROLLING_BACK])
def test_a_newer_wish_waits_after_the_exchange(state: ExecutionState, rig: Rig) -> None:
    rig.bring_to(state)
    rig.updater.desire(wish("b", 2), 0.0, 0.0)
    assert rig.state is state
    while rig.updater.record is not None and rig.updater.record.desired.attempt == 1:
        rig.end(Outcome())
    assert rig.told[-2].state in TERMINAL_EXECUTION_STATES
    assert (rig.state, rig.told[-1].bundle_digest) == (S.QUEUED, "b" * 64)


def test_nothing_desired_any_more_cancels(rig: Rig) -> None:
    rig.bring_to(S.DOWNLOADING)
    rig.updater.desire(None, 0.0, 0.0)
    assert rig.state is S.CANCELED


def test_the_same_wish_again_changes_nothing(rig: Rig) -> None:
    rig.bring_to(S.SUCCEEDED)
    rig.steps.running = "a" * 64
    told = len(rig.told)
    rig.updater.desire(wish(), 0.0, 0.0)
    rig.restart()
    rig.steps.running = "a" * 64
    rig.updater.resume(0.0, 0.0)
    rig.updater.desire(wish(), 0.0, 0.0)
    assert len(rig.told) == told


def test_what_succeeded_and_was_lost_is_fetched_again(rig: Rig) -> None:
    rig.bring_to(S.SUCCEEDED)
    rig.restart()
    rig.updater.resume(0.0, 0.0)
    rig.updater.desire(wish(), 0.0, 0.0)
    assert rig.state is S.QUEUED


def test_a_step_that_takes_too_long_times_out(rig: Rig) -> None:
    rig.bring_to(S.DOWNLOADING)
    limit_s = timer_s(S.DOWNLOADING, LIMITS)
    assert limit_s is not None
    rig.now = limit_s + 1
    rig.updater.tick(rig.now, 0.0)
    assert rig.state is S.TIMED_OUT


@pytest.mark.parametrize("state", [s for s in PATH if s not in (S.QUEUED, S.SUCCEEDED)])
def test_a_disk_that_refuses_the_record_ends_in_a_safe_state(
    state: ExecutionState, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.bring_to(state)

    def refuse(*_args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(rig.store, "save", refuse)
    rig.end(Outcome())
    expected = S.FAILED if state in BEFORE_EXCHANGE else S.ROLLING_BACK
    assert rig.state is expected
    assert "persisted" in rig.told[-1].reason


def test_a_record_of_an_unknown_version_is_absent(rig: Rig) -> None:
    rig.bring_to(S.PROBATION)
    path = rig.store.state / "update-slot.json"
    path.write_text(path.read_text().replace('"version":1,"slot"', '"version":2,"slot"'))
    rig.restart()
    assert rig.updater.record is None


def record(state: ExecutionState) -> UpdateRecord:
    return UpdateRecord(slot="s", desired=wish("c"), state=state)


@pytest.mark.parametrize("state", list(S))
def test_boot_serves_the_committed_bundle_until_probation_is_over(state: ExecutionState) -> None:
    good = Committed(digest="9" * 64)
    expected = "c" * 64 if state is S.COMMITTING else good.digest
    assert boot_digest(record(state), good) == expected
    alone = "c" * 64 if state in (S.COMMITTING, S.PROBATION) else None
    assert boot_digest(record(state), None) == alone


def test_too_many_stores_are_an_error_wherever_they_happen() -> None:
    worn = record(S.DOWNLOADING).model_copy(update={"stores": 9})
    assert resume_event(worn, 9) is not None
    assert resume_event(worn, 10) is None


JUDGED = [
    (SlotHealth(10, 10, 0), 1.0, None),
    (SlotHealth(10, 10, 0), 5.0, "pass"),
    (SlotHealth(10, 5, 5), 0.1, E.ROLLBACK_STARTED),
    (SlotHealth(100, 99, 1), 5.0, "pass"),
    (SlotHealth(10, 0, 0), 14.9, None),
    (SlotHealth(10, 0, 0), 15.0, E.ROLLBACK_STARTED),
    (SlotHealth(0, 0, 0), 5.0, None),
    (SlotHealth(0, 0, 0), 66.0, "pass"),
]


@pytest.mark.parametrize(("seen", "elapsed_s", "verdict"), JUDGED)
def test_probation(seen: SlotHealth, elapsed_s: float, verdict: object) -> None:
    outcome = judge_probation(seen, elapsed_s, 5.0, LIMITS)
    if verdict is None:
        assert outcome is None
    else:
        assert outcome is not None
        assert outcome.event is (None if verdict == "pass" else verdict)
