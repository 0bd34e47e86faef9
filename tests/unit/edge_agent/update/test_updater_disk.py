"""An updater whose disk or outbox refuses, whose process is killed, and whose time is up."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from edge_agent.update.states import Outcome, Step
from edge_agent.update.updater import SPENT_EVERY_S
from protocol.states import ExecutionState
from tests.unit.edge_agent.update.updater_rig import LIMITS, PATH, E, Rig, S, wish


def refusing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the disk refuse states; what is returned makes room again."""

    def refuse(*_args: object) -> None:
        raise OSError("no space left on device")

    save = rig.store.save
    monkeypatch.setattr(rig.store, "save", refuse)
    return lambda: monkeypatch.setattr(rig.store, "save", save)


@pytest.mark.parametrize("state", [s for s in PATH if s is not S.SUCCEEDED])
def test_what_cannot_be_persisted_has_not_happened(
    state: ExecutionState, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.bring_to(state)
    make_room = refusing(rig, monkeypatch)
    told, begun = len(rig.told), len(rig.steps.begun)
    rig.end(Outcome())
    for _ in range(3):
        rig.tick()
    assert (rig.state, rig.on_disk().state) == (state, state)
    assert (len(rig.told), len(rig.steps.begun)) == (told, begun)
    make_room()
    rig.tick()
    assert rig.state is PATH[PATH.index(state) + 1]
    assert rig.states == PATH[: PATH.index(state) + 2]


def test_an_attempt_that_cannot_be_persisted_is_begun_when_there_is_room(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_room = refusing(rig, monkeypatch)
    rig.desire(wish())
    rig.tick()
    assert rig.updater.record is None
    make_room()
    rig.tick()
    assert rig.states == [S.QUEUED]


def test_the_way_back_does_not_wait_for_the_disk(
    good: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    good.bring_to(S.PROBATION)
    make_room = refusing(good, monkeypatch)
    good.end(Outcome(E.ROLLBACK_STARTED, "it finds nothing"))
    assert good.steps.retreats == 1
    assert good.on_disk().state is S.PROBATION, "a restart would go back too"
    make_room()
    good.tick()
    assert (good.state, good.told[-1].reason) == (S.ROLLING_BACK, "it finds nothing")


def test_a_cancel_takes_the_place_of_what_could_not_be_persisted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.bring_to(S.PROVING)
    make_room = refusing(rig, monkeypatch)
    rig.end(Outcome())
    rig.desire(None)
    make_room()
    rig.tick()
    assert rig.states[-1] is S.CANCELED


def test_a_step_that_takes_too_long_times_out(rig: Rig) -> None:
    rig.bring_to(S.DOWNLOADING)
    rig.end(Outcome(retry=True, reason="the disk is full"))
    rig.tick(LIMITS.download_timeout_s + 1)
    assert rig.state is S.TIMED_OUT
    assert re.match("DOWNLOADING took longer than .*the disk is full", rig.told[-1].reason)


def test_the_whole_time_counts_over_restarts_and_not_by_the_wall(rig: Rig) -> None:
    short = wish().model_copy(update={"timeout_s": 3 * SPENT_EVERY_S})
    rig.bring_to(S.DOWNLOADING, short)
    rig.wall += 3e7
    rig.tick(1.0)
    assert rig.states == [S.QUEUED, S.DOWNLOADING]
    for _ in range(3):
        rig.tick(SPENT_EVERY_S * 0.6)
        rig.tick(SPENT_EVERY_S * 0.6)
        rig.wall -= 3e7
        rig.rise()
        rig.tick(0.1)
    assert rig.state is S.TIMED_OUT
    assert "the attempt took longer" in rig.told[-1].reason


def test_a_note_is_reported_and_not_told(rig: Rig) -> None:
    rig.bring_to(S.PREPARED)
    told = len(rig.told)
    rig.end(Outcome(reason="its window opens later", figures={"x": 1.0}, note=True))
    assert (rig.state, len(rig.told)) == (S.PREPARED, told)
    report = rig.record.report()
    assert (report.reason, report.figures) == ("its window opens later", {"x": 1.0})


def test_what_is_wanted_again_before_its_end_is_persisted_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.bring_to(S.PROVING)
    make_room = refusing(rig, monkeypatch)
    rig.desire(wish("b", 2))
    rig.end(Outcome())
    rig.desire(wish())
    make_room()
    rig.tick()
    assert (rig.state, rig.steps.begun[-2:]) == (S.PROVING, [Step.PROVE, Step.PROVE])
    rig.end(Outcome())
    assert rig.states[-1] is S.PREPARED


@pytest.mark.parametrize("state", PATH)
def test_killed_between_persisting_and_telling(state: ExecutionState, rig: Rig) -> None:
    rig.outbox.full = True
    rig.bring_to(state)
    rig.outbox.full = False
    rig.restart()
    rig.updater.wake(rig.now, rig.wall)
    told = PATH[: PATH.index(state) + 1]
    assert rig.states[: len(told)] == told
    count = len(rig.told)
    rig.restart()
    rig.updater.wake(rig.now, rig.wall)
    assert len(rig.told) == count


def test_numbers_go_on_over_attempts_and_lost_records(rig: Rig) -> None:
    rig.bring_to(S.SUCCEEDED)
    last = rig.record.transition
    rig.desire(wish("b", 2))
    assert rig.record.passages[0].number == last + 1
    (rig.store.state / "update-slot.json").unlink()
    rig.rise()
    rig.desire(wish("b", 2))
    assert rig.record.transition == last + 2
    assert rig.states[-2:] == [S.QUEUED, S.QUEUED]


def test_a_new_attempt_waits_until_the_last_one_is_told_to_its_end(rig: Rig) -> None:
    rig.bring_to(S.DOWNLOADING)
    rig.outbox.full = True
    rig.desire(wish("b", 2))
    assert rig.state is S.SUPERSEDED
    rig.outbox.full = False
    rig.tick()
    assert rig.states == [S.QUEUED, S.DOWNLOADING, S.SUPERSEDED, S.QUEUED]


def test_the_next_attempt_waits_until_the_last_is_remembered(rig: Rig) -> None:
    rig.remembers = False
    rig.bring_to(S.SUCCEEDED)
    rig.desire(wish("d", attempt=2))
    rig.tick()
    assert rig.state is S.SUCCEEDED, "its record would be overwritten"
    rig.remembers = True
    rig.tick()
    assert (rig.state, rig.record.desired.attempt) == (S.QUEUED, 2)
    asked = len(rig.ended)
    rig.tick()
    assert len(rig.ended) == asked
