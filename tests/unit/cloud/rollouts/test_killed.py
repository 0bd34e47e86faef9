"""The hub dies at every point of a rollout, and two engines run at once: nothing is sent twice
with effect, nothing is forgotten."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from cloud.database import Database
from cloud.fleet import service as fleet
from cloud.rollouts import service
from cloud.rollouts.running import acting
from cloud.rollouts.running.engine import Engine
from protocol.messages import Desired, ExecutionReport, SlotDesired, decode
from protocol.states import ExecutionState
from protocol.topics import Kind, Topic
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub, Published

S = ExecutionState
IDS = [f"dev-{n}" for n in range(6)]
LEASE_S = 10.0
ROUNDS_MAX = 30
ENDED = ("FINISHED", "STOPPED")


class Killed(BaseException):
    """No error that anything here would catch."""


class Reaper:
    """Kills at the `at`-th point that it is led past; None: counts them only."""

    def __init__(self, at: int | None) -> None:
        self.at, self.passed, self.armed = at, 0, False

    def point(self) -> None:
        if self.armed:
            self.passed += 1
            if self.passed - 1 == self.at:
                raise Killed


class Broker(Published):
    """Keeps what is retained, whatever becomes of the hub."""

    def __init__(self, reaper: Reaper) -> None:
        super().__init__()
        self.reaper = reaper

    def publish(self, topic: Topic, payload: bytes) -> None:
        self.reaper.point()
        super().publish(topic, payload)


class Line:
    """Devices that do what they are told, once, and say it again and again."""

    def __init__(self, fails: frozenset[tuple[str, int]] = frozenset()) -> None:
        self.did: Counter[tuple[str, str, int]] = Counter()
        self.runs: dict[str, str] = {}
        self._fails = fails

    def speak(self, hub: Hub) -> None:
        for device_id in IDS:
            wanted = hub.published.desired(device_id)
            if wanted and MODEL in wanted[-1].slots:
                self._do(hub, device_id, wanted[-1].slots[MODEL])

    def _do(self, hub: Hub, device_id: str, slot: SlotDesired) -> None:
        if slot.rollout_id is None:
            return
        key = (device_id, slot.rollout_id, slot.attempt)
        fails = (device_id, slot.attempt) in self._fails
        # A device that runs what it is told to run does nothing; nor does it try twice.
        if not self.did[key] and self.runs.get(device_id) != slot.bundle_digest:
            self.did[key] += 1
            if not fails:
                self.runs[device_id] = slot.bundle_digest
        report = ExecutionReport(
            rollout_id=slot.rollout_id, attempt=slot.attempt, slot=MODEL,
            bundle_digest=slot.bundle_digest, state=S.FAILED if fails else S.SUCCEEDED,
        )  # fmt: skip
        hub.tell(device_id, report)


@contextmanager
def deadly(monkeypatch: pytest.MonkeyPatch, reaper: Reaper) -> Iterator[None]:
    """Lead the reaper past every action and both sides of every commit; `Broker` leads him past
    every message."""
    act, act_on, commit = acting.act, acting.act_on, Session.commit

    def before(verb: Callable[..., bool], *arguments: Any) -> bool:
        reaper.point()
        return verb(*arguments)

    def committing(session: Session) -> None:
        reaper.point()
        commit(session)
        reaper.point()

    with monkeypatch.context() as patched:
        patched.setattr(acting, "act", partial(before, act))
        patched.setattr(acting, "act_on", partial(before, act_on))
        patched.setattr(Session, "commit", committing)
        yield


def begin_again(hub: Hub) -> None:
    """A new process: another engine, once the lease of the dead one has run out; and the link
    publishes all that stands, as it does at its start."""
    hub.engine = Engine(hub.database, 1.0)
    hub.now += LEASE_S + 1
    with hub.database.reading() as session:
        standing = fleet.standing_messages(session)
    for topic, payload in standing:
        hub.published.publish(topic, payload)


def live(hub: Hub, reaper: Reaper, line: Line, rollout_id: str) -> None:
    """Until the rollout has ended and its devices have heard of it."""
    for _ in range(ROUNDS_MAX):
        reaper.armed = True
        try:
            hub.settle()
        except Killed:
            reaper.armed = False
            begin_again(hub)
        reaper.armed = False
        line.speak(hub)
        hub.now += 61
        if hub.rollout(rollout_id).state in ENDED and not hub.rollout(rollout_id).asks:
            hub.settle()
            line.speak(hub)
            return
    raise AssertionError(f"it is {hub.rollout(rollout_id).state} after {ROUNDS_MAX} rounds")


def copy_of(hub: Hub, path: Path, reaper: Reaper) -> Hub:
    with hub.database.engine.connect().execution_options(argosy_begin="SELECT 1") as connection:
        connection.exec_driver_sql("VACUUM INTO ?", (str(path),))
    database = Database(f"sqlite:///{path}")
    published = Broker(reaper)
    database.publisher = published
    return Hub(database, published, Engine(database, 1.0))


def at_every_point(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scene: Callable[[Hub, Reaper], object],
) -> None:
    """Play the scene once to count the points, then again with a death at each of them: it
    comes to the same."""
    outcomes: dict[int | None, object] = {}
    at: int | None = None
    while True:
        reaper = Reaper(at)
        copy = copy_of(hub, tmp_path / f"copy-{at}.sqlite3", reaper)
        with deadly(monkeypatch, reaper):
            outcomes[at] = scene(copy, reaper)
        copy.database.close()
        if at is None:
            points, at = reaper.passed, 0
            assert points > 20
        else:
            assert outcomes[at] == outcomes[None], f"killed at point {at} of {points}"
            at += 1
        if at >= points:
            return


def came_to(hub: Hub, line: Line, rollout_id: str) -> object:
    """What must be the same, whoever died on the way."""
    rollout = hub.rollout(rollout_id)
    with hub.database.reading() as session:
        entries = service.journal(session, ADMIN, rollout_id, limit=200)
    rows = hub.executions(rollout_id)
    assert max(line.did.values()) == 1
    return (
        (rollout.state, rollout.outcome, rollout.wave, rollout.watched),
        {key: (row.state, row.wave, row.digest, row.reverts) for key, row in rows.items()},
        sorted(line.did),
        dict(line.runs),
        Counter((entry.kind, entry.wave) for entry in entries),
        {device_id: hub.published.desired(device_id)[-1].slots for device_id in IDS},
    )


def test_three_waves_with_a_retry_come_to_the_same(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout_id = hub.create(
        waves=[{"count": 2}, {"count": 2}],
        failed_max=None,
        retries={"count": 1, "after_s": 60},
    )

    def scene(hub: Hub, reaper: Reaper) -> object:
        line = Line(fails=frozenset({("dev-1", 1)}))
        live(hub, reaper, line, rollout_id)
        return came_to(hub, line, rollout_id)

    at_every_point(hub, tmp_path, monkeypatch, scene)


def test_going_back_comes_to_the_same(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hub.create(version=1)
    still, line = Reaper(None), Line()
    live(hub, still, line, first)
    rollout_id = hub.create(version=2, waves=[{"count": 3}])
    hub.settle()
    line.speak(hub)
    hub.call(partial(service.abort, revert=True), rollout_id)
    retained = hub.published.messages

    def scene(hub: Hub, reaper: Reaper) -> object:
        hub.published.messages = list(retained)
        hub.now = 2_000_000.0
        again = Line()
        again.runs = dict(line.runs)
        live(hub, reaper, again, rollout_id)
        found = came_to(hub, again, rollout_id)
        assert set(again.runs.values()) == {DIGESTS[1]}
        assert hub.rollout(rollout_id).outcome == "REVERTED"
        return found

    at_every_point(hub, tmp_path, monkeypatch, scene)


def test_an_engine_that_slept_over_its_lease_does_nothing_more(hub: Hub) -> None:
    rollout_id = hub.create(waves=[{"count": 3}])
    other = Engine(hub.database, 1.0)

    class Sleeps(Engine):
        """Another engine leads between what this one read and what it does."""

        def _take_steps(self, *arguments: Any) -> bool:
            while other.tick(hub.now + LEASE_S + 1):
                pass
            return super()._take_steps(*arguments)

    hub.engine.__class__ = Sleeps
    assert not hub.engine.tick(hub.now)
    assert hub.engine._board is None, "what it knows is not true any more"
    assert len(hub.published.messages) == 3
    assert sum(row.started_at is not None for row in hub.executions(rollout_id).values()) == 3


class Drowsy(Engine):
    """Sleeps over its lease now and then, between looking and acting."""

    naps = 0

    def _take_steps(self, *arguments: Any) -> bool:
        self.naps += 1
        if self.naps % 3 == 0:
            time.sleep(1.5 * self._lease_s)
        return super()._take_steps(*arguments)


class Told(Published):
    """Lets a test wait for what devices are told."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def publish(self, topic: Topic, payload: bytes) -> None:
        with self.changed:
            super().publish(topic, payload)
            self.changed.notify_all()

    def wait_beyond(self, count: int) -> list[tuple[Topic, bytes]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.messages) > count, 30.0)
            return self.messages[count:]


def test_two_engines_at_once_never_act_twice(hub: Hub) -> None:
    count = 60
    with hub.database.transaction() as session:
        for number in range(6, count):
            fleet.enrol(session, ADMIN, f"dev-{number}", models=[MODEL])
    told = Told()
    hub.database.publisher = told
    rollout_id = hub.create(in_flight_max=7)
    engines = [Drowsy(hub.database, 0.01) for _ in range(2)]
    for engine in engines:
        engine.start()
    try:
        seen = 0
        while seen < count:
            for topic, payload in told.wait_beyond(seen):
                seen += 1
                answer(hub, topic, decode(Kind.DESIRED, payload))
            for engine in engines:
                engine.loop.wake()
    finally:
        for engine in engines:
            engine.stop()
    generations = Counter(
        (topic.device_id, decode(Kind.DESIRED, payload).slots[MODEL].attempt)
        for topic, payload in told.messages
    )
    assert set(generations.values()) == {1}
    rows = hub.executions(rollout_id)
    assert len(rows) == count
    assert {row.state for row in rows.values()} == {"SUCCEEDED"}


def answer(hub: Hub, topic: Topic, desired: Desired) -> None:
    slot = desired.slots[MODEL]
    report = ExecutionReport(
        rollout_id=slot.rollout_id, attempt=slot.attempt, slot=MODEL,
        bundle_digest=slot.bundle_digest, state=S.SUCCEEDED,
    )  # fmt: skip
    assert topic.device_id is not None
    with hub.database.transaction() as session:
        service.on_execution(session, topic.device_id, report, time.time())
