"""The fault table of a bundle that takes over for good: a kill or an error at every write.

Whatever befalls the agent, and wherever, the device ends in one of two ways: all is as it was and
nobody was told; or the other bundle serves, the hub heard it once, and what a person left is
marked as left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent import faults, store
from edge_agent.config import Limits
from edge_agent.update.floors import FLOORS, Floor, Floors
from edge_agent.update.history import History, history_name, remember
from edge_agent.update.offline import go_back
from edge_agent.update.states import Passage, opened
from tests.unit.edge_agent.update.slots_rig import Box
from tests.unit.edge_agent.update.updater_rig import S, wish

LINE = "line"


class Device(Box):
    """One with the versions 1 and 2, both proven, the second committed last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store.open()
        self.first, self.second = self.place(1), self.place(2)
        for number, digest in enumerate((self.first, self.second)):
            desired = wish("c").model_copy(update={"bundle_digest": digest})
            record = opened(LINE, desired, None, 10 * number, 0.0)
            end = Passage(number=10 * number + 2, state=S.SUCCEEDED, at=1.0)
            over = record.model_copy(update={"passages": (*record.passages, end)})
            remember(self.store, LINE, over, Limits())
        self.commit(LINE, self.second, self.first)


class KilledError(BaseException):
    """The process ends here; nothing of it may catch this."""


class Plan:
    """Stands for `faults.point`: lets the process meet `error` at one of the points it comes to."""

    def __init__(self) -> None:
        self.met: list[str] = []
        self.at: int | None = None
        self.error: type[BaseException] = KilledError

    def point(self, name: str) -> None:
        if self.at == len(self.met):
            self.at = None
            raise self.error(5, f"made at {name}")
        self.met.append(name)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    made = Plan()
    monkeypatch.setattr(faults, "point", made.point)
    return made


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[Callable[[], Device]]:
    made: list[Device] = []

    def make() -> Device:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Device(folder))
        return made[-1]

    yield make
    for box in made:
        box.die()
        box.store.close()


# ---- what makes another bundle take over ---------------------------------------------------


def by_hand(box: Device) -> Callable[[], None]:
    box.start()

    def act() -> None:
        box.updates._units[LINE].back.begin()
        box.work()

    return act


def kept(box: Device) -> Callable[[], None]:
    """The first stands in for the second, and a person wants it to stay."""
    box.bundles.set_aside(box.second)
    box.start()

    def act() -> None:
        box.updates._units[LINE].back.keep()

    return act


def without_agent(box: Device) -> Callable[[], None]:
    def act() -> None:
        go_back(LINE, box.store, Limits(), box.wall)

    return act


def revoked(box: Device) -> Callable[[], None]:
    """The first is a version above the floor, and the second is below it."""
    box.commit(LINE, box.first, box.second)
    box.start()
    floors = Floors(models={"tiny": Floor(version=2, generation=1)})
    box.store.save(FLOORS, floors)

    def act() -> None:
        box.updates._floors = floors
        box.tick()
        box.work()

    return act


def whole_again(box: Device) -> Callable[[], None]:
    box.bundles.set_aside(box.second)
    box.start()
    box.place(2)

    def act() -> None:
        box.tick()
        box.work()

    return act


TURNS = {
    "rolled_back_by_hand": by_hand,
    "kept": kept,
    "without_agent": without_agent,
    "left_revoked": revoked,
    "serves_again": whole_again,
}
BY_HAND = ("rolled_back_by_hand", "kept", "without_agent")


def points(make: Callable[[], Device], plan: Plan, turn: str) -> list[str]:
    """The points that a turn comes to where nothing befalls it."""
    act = TURNS[turn](make())
    plan.met.clear()
    act()
    return list(plan.met)


def live_on(box: Device) -> None:
    """Two starts, and some ticks of each."""
    for _ in range(2):
        box.start()
        for _ in range(3):
            box.tick()
            box.work()


def left(box: Device) -> list[str]:
    history = box.store.load(history_name(LINE), History)
    assert history is not None
    return [attempt.bundle_digest for attempt in history.attempts if attempt.left]


def check(box: Device, turn: str, done: bool | None = None) -> None:
    """What holds in the end; `done`: whether the other bundle has to serve, None for either."""
    old, new = (box.second, box.first) if turn in BY_HAND else (box.first, box.second)
    told = [(a.name, a.slot, a.left, a.serves) for a in box.turns()]
    committed = box.committed()
    assert committed.untold == ()
    if turn in ("left_revoked", "serves_again"):
        assert box.serves() == new, "at the latest a start sees to it"
        assert left(box) == []
        took_over = bool(told)
    else:
        took_over = committed.digest == new
        assert left(box) == ([old] if took_over else [])
        assert committed.by_hand is took_over
    name = "rolled_back_by_hand" if turn in BY_HAND else turn
    assert told == ([(name, LINE, old, new)] if took_over else [])
    assert done in (None, took_over)


@pytest.mark.parametrize("turn", list(TURNS))
def test_a_turn_that_nothing_befalls(boxes: Callable[[], Device], plan: Plan, turn: str) -> None:
    box = boxes()
    TURNS[turn](box)()
    live_on(box)
    check(box, turn, done=True)


@pytest.mark.parametrize("turn", list(TURNS))
def test_a_kill_at_any_write_loses_no_word_and_tells_none_twice(
    boxes: Callable[[], Device], plan: Plan, turn: str
) -> None:
    way = points(boxes, plan, turn)
    assert way.count("store.write") >= (2 if turn == "without_agent" else 3)
    for at in range(len(way)):
        box = boxes()
        act = TURNS[turn](box)
        plan.met.clear()
        plan.at = at
        with pytest.raises(KilledError):
            act()
        persisted = box.committed().untold != () or box.committed().digest == box.first
        live_on(box)
        check(box, turn, done=persisted if turn in BY_HAND else None)


@pytest.mark.parametrize("turn", list(TURNS))
def test_an_error_at_any_write_loses_no_word_and_tells_none_twice(
    boxes: Callable[[], Device], plan: Plan, turn: str
) -> None:
    plan.error = OSError
    for at in range(len(points(boxes, plan, turn))):
        box = boxes()
        act = TURNS[turn](box)
        plan.met.clear()
        plan.at = at
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whoever asks without an agent hears of it
            assert turn == "without_agent", error
        if turn != "without_agent":
            box.tick()
            assert box.committed().untold == (), "it is told without a start"
        live_on(box)
        check(box, turn)


def test_what_the_disk_refused_and_holds_all_the_same_is_told(
    boxes: Callable[[], Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder could not be synced: who asked is refused, and the next start would serve it."""
    box = boxes()
    act = by_hand(box)
    with monkeypatch.context() as broken:
        broken.setattr(store, "fsync_directory", _refuse)
        act()
    assert (box.serves(), box.committed().digest) == (box.second, box.first)
    assert box.names() == ["rollback_refused"]
    box.tick()
    assert box.names() == ["rollback_refused", "rolled_back_by_hand"]
    assert (left(box), box.committed().untold) == ([box.second], ())
    box.work()
    assert box.serves() == box.first


def _refuse(_folder: Path) -> None:
    raise OSError(5, "Input/output error")


def test_a_word_that_the_outbox_refuses_outlives_the_next_update(
    boxes: Callable[[], Device],
) -> None:
    box = boxes()
    act = by_hand(box)
    back = box.updates._units[LINE].back
    back._context = replace(back._context, tell=lambda _slot, _turn: False)
    act()
    assert box.turns() == []
    box.tick()
    assert len(box.committed().untold) == 1
    assert left(box) == [box.second], "the history need not wait for the hub"
    box.updates._units[LINE].exchange.commit(box.second)
    box.start()
    assert [alert.name for alert in box.turns()] == ["rolled_back_by_hand"]
    assert box.committed().digest == box.second
    assert box.committed().untold == ()


def test_what_an_older_agent_committed_is_read(boxes: Callable[[], Device]) -> None:
    box = boxes()
    text = f'{{"version":1,"digest":"{box.first}","previous_digest":null}}'
    (box.store.state / "slot-line.json").write_text(text)
    (box.store.state / "history-line.json").write_text('{"version":1,"attempts":[]}')
    box.start()
    box.tick()
    assert (box.serves(), box.turns()) == (box.first, [])
