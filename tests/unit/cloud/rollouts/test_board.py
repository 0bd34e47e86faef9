"""The board: true after whatever happened, and no more read for it than what changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from cloud.errors import HubError
from cloud.fleet import inbound
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.inbound import Received
from cloud.registry import service as registry
from cloud.rollouts import service
from cloud.rollouts.running import devices
from cloud.rollouts.running.board import Board
from cloud.rollouts.running.engine import Engine
from cloud.telemetry import service as telemetry
from protocol.builds import Capabilities
from protocol.messages import (
    Alert,
    EventReport,
    ExecutionReport,
    Presence,
    Reported,
    SlotReported,
    encode,
)
from protocol.states import ExecutionState
from protocol.topics import Kind, Topic
from tests.simulation.rollouts.builds import ABLE, UNABLE
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub

S = ExecutionState
IDS = [f"dev-{n}" for n in range(6)]
TOLD = (S.DOWNLOADING, S.SHADOWING, S.SUCCEEDED, S.SUCCEEDED, S.FAILED)
SEEDS, STEPS = 12, 40


class Story:
    """Things that happen to a hub, drawn by `dice`; each by the verb that does it in earnest."""

    def __init__(self, hub: Hub, seed: int) -> None:
        self.hub, self.dice = hub, random.Random(seed)
        self.rollouts: list[str] = []
        self.epochs = dict.fromkeys(IDS, 0)
        self.sequence = 0
        self.happenings: list[Callable[[], object]] = [
            self.begins, self.steps, self.steps, self.steps, self.steps, self.reports,
            self.reports, self.presence, self.alerts, self.steered, self.pinned, self.unpinned,
            self.set_by_hand, self.floored, self.enrolled, self.time_passes,
        ]  # fmt: skip

    def goes_on(self) -> str:
        happening = self.dice.choice(self.happenings)
        try:
            happening()
        except HubError as refused:
            return f"{happening.__name__}: {refused}"
        return happening.__name__

    def begins(self) -> None:
        asked: dict[str, Any] = {
            "version": self.dice.choice([1, 2]),
            "priority": self.dice.choice([0, 0, 1]),
            "continuous": self.dice.random() < 0.3,
            "failed_max": self.dice.choice([0, None]),
            "retries": {"count": self.dice.choice([0, 1]), "after_s": 60},
            "needs_approval": self.dice.random() < 0.2,
            "shadow": self.dice.choice([None, {}]),
        }
        if asked["continuous"]:
            asked["selector"] = self.dice.choice(["line=b", "line"])
        elif self.dice.random() < 0.5:
            asked["devices"] = self.dice.sample(IDS, 3)
        elif self.dice.random() < 0.5:
            asked["waves"] = [{"count": 2}]
        self.rollouts.append(self.hub.create(**asked))

    def steps(self) -> None:
        device_id, slot = self._told()
        report = ExecutionReport(
            rollout_id=slot.rollout_id,
            attempt=slot.attempt,
            slot=MODEL,
            bundle_digest=slot.bundle_digest,
            state=self.dice.choice(
                [S.DOWNLOADING, S.SHADOWING, S.SUCCEEDED, S.SUCCEEDED, S.FAILED]
            ),
            figures=self.dice.choice([{}, {"shadow_inconclusive": 1.0}]),
        )
        self.hub.tell(device_id, report)

    def reports(self) -> None:
        device_id = self.dice.choice(IDS)
        slot = SlotReported(
            running_digest=self.dice.choice([None, *DIGESTS.values()]),
            by_hand=self.dice.random() < 0.2,
        )
        self._say(
            Kind.REPORTED,
            Reported(
                **self._session(device_id),
                agent_version="1",
                desired_generation=1,
                slots={MODEL: slot},
                capabilities=self._capabilities(),
                reported_at=self.hub.now + self.dice.choice([-5, 5]),
            ),
            inbound.store_reports,
        )

    def presence(self) -> None:
        device_id = self.dice.choice(IDS)
        self.epochs[device_id] += 1
        status = self.dice.choice(["online", "offline"])
        message = Presence(**self._session(device_id), status=status)
        self._say(Kind.PRESENCE, message, inbound.store_presences)

    def alerts(self) -> None:
        self.sequence += 1
        message = EventReport(
            device_id=self.dice.choice(IDS),
            epoch="0" * 32,
            sequence=self.sequence,
            at=self.hub.now + 1,
            alert=Alert(name="rolled_back_by_hand", text=f"{MODEL}: from new to old"),
        )
        self._say(Kind.EVENTS, message, partial(telemetry.store_events, ranges_max=9))

    def steered(self) -> None:
        verb = self.dice.choice(
            [
                service.approve, service.pause, service.resume, service.cancel,
                partial(service.abort, revert=True), partial(service.abort, revert=False),
                partial(service.force, remark="because"),
                partial(service.accept, device_id=self.dice.choice(IDS)),
            ]
        )  # fmt: skip
        if self.rollouts:
            with self.hub.database.transaction() as session:
                verb(session, ADMIN, self.dice.choice(self.rollouts))  # type: ignore[operator]

    def pinned(self) -> None:
        with self.hub.database.transaction() as session:
            service.pin(session, ADMIN, self.dice.choice(IDS), MODEL, digest=DIGESTS[2])

    def unpinned(self) -> None:
        with self.hub.database.transaction() as session:
            service.unpin(session, ADMIN, self.dice.choice(IDS), MODEL)

    def set_by_hand(self) -> None:
        with self.hub.database.transaction() as session:
            fleet.set_slot(session, ADMIN, self.dice.choice(IDS), MODEL, None)

    def floored(self) -> None:
        with self.hub.database.transaction() as session:
            if self.dice.random() < 0.2:
                registry.set_floor(session, ADMIN, MODEL, self.dice.choice([1, 2]))

    def enrolled(self) -> None:
        device_id = f"dev-{len(self.epochs)}"
        with self.hub.database.transaction() as session:
            fleet.enrol(session, ADMIN, device_id, labels={"line": "b"}, models=[MODEL])
        self.epochs[device_id] = 0

    def time_passes(self) -> None:
        self.hub.now += self.dice.choice([1, 40, 100, 1000])

    def _told(self) -> tuple[str, Any]:
        device_id = self.dice.choice(list(self.epochs))
        with self.hub.database.reading() as session:
            desired = fleet.desired(fleet.get_device(session, ADMIN, device_id))
        slot = desired.slots.get(MODEL) if desired else None
        return (device_id, slot) if slot else self._nobody()

    def _nobody(self) -> tuple[str, Any]:
        raise HubError("nobody was told anything", "wait")

    def _session(self, device_id: str) -> dict[str, Any]:
        epoch = self.epochs[device_id]
        return {"device_id": device_id, "boot_id": f"b{epoch}", "session_epoch": epoch}

    def _capabilities(self) -> Capabilities:
        return ABLE if self.dice.random() < 0.9 else UNABLE

    def _say(self, kind: Kind, message: Any, handler: Callable[..., object]) -> None:
        received = Received(
            Topic(kind, device_id=message.device_id), encode(message), message, self.hub.now
        )
        with self.hub.database.transaction() as session:
            handler(session, [received])


def known(engine: Engine) -> Board:
    board = engine._board
    assert board is not None
    return board


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_was_read_bit_by_bit_is_what_a_new_board_reads(hub: Hub, seed: int) -> None:
    story, told = Story(hub, seed), []
    for _ in range(STEPS):
        told.append(story.goes_on())
        hub.engine.tick(hub.now)
        old, new = known(hub.engine), Board()
        with hub.database.reading() as session:
            old.refresh(session)
            new.refresh(session)
        assert list(old.watched) == list(new.watched), told
        for rollout_id, watched in new.watched.items():
            before = old.watched[rollout_id]
            assert before.head == watched.head
            assert before.views == watched.views, told
            assert before.moving == watched.moving, told
            assert before.joiners == watched.joiners, told


@contextmanager
def statements(hub: Hub) -> Iterator[list[str]]:
    """What is said to the database meanwhile."""
    said: list[str] = []

    def listen(*arguments: Any) -> None:
        said.append(arguments[2])

    event.listen(hub.database.engine, "before_cursor_execute", listen)
    try:
        yield said
    finally:
        event.remove(hub.database.engine, "before_cursor_execute", listen)


def test_at_rest_nothing_is_written_and_no_device_is_read(hub: Hub) -> None:
    hub.create(devices=IDS[:2])
    hub.settle()
    for device_id in IDS[:2]:
        hub.succeed(device_id)
    hub.settle()
    with statements(hub) as said:
        for _ in range(20):
            hub.settle(60)
    assert [s for s in said if not s.startswith(("SELECT", "BEGIN", "PRAGMA"))] == []
    assert "BEGIN IMMEDIATE" not in said
    assert [s for s in said if "FROM execution" in s or "device.reported" in s] == []


def test_of_what_is_under_way_only_the_changed_devices_are_read(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.create()
    hub.settle()
    read: list[str] = []
    look = devices.look

    def listening(*arguments: Any, **named: Any) -> Any:
        read.extend(arguments[3])
        return look(*arguments, **named)

    monkeypatch.setattr(devices, "look", listening)
    hub.settle(1)
    assert read == []
    hub.report("dev-3", S.DOWNLOADING)
    hub.settle(1)
    assert read == ["dev-3"]
    hub.settle(1)
    assert read == ["dev-3"]


def test_a_change_is_forgotten_once_it_was_read(hub: Hub) -> None:
    hub.create()
    hub.settle()
    hub.report("dev-3", S.DOWNLOADING)
    with hub.database.reading() as session:
        assert fleet.changed(session, 99) == {"dev-3": 1}
    hub.settle()
    with hub.database.reading() as session:
        assert fleet.changed(session, 99) == {}


def test_what_fails_is_looked_at_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout_id = hub.create()
    from cloud.rollouts.running import acting

    def fails(*_: Any) -> bool:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(acting, "act_on", fails)
        with pytest.raises(RuntimeError):
            hub.engine.tick(hub.now)
    assert all(row.started_at is None for row in hub.executions(rollout_id).values())
    hub.settle()
    assert all(row.started_at is not None for row in hub.executions(rollout_id).values())


def test_one_rollout_that_fails_does_not_keep_the_others(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = hub.create(devices=IDS[:2])
    good = hub.create(devices=IDS[2:])
    from cloud.rollouts.running import acting

    act_on = acting.act_on

    def fails(work: acting.Work, action: acting.DeviceAction) -> bool:
        if work.rollout.id == bad:
            raise RuntimeError("a row that nobody can read")
        return act_on(work, action)

    monkeypatch.setattr(acting, "act_on", fails)
    with pytest.raises(RuntimeError):
        hub.engine.tick(hub.now)
    assert all(row.started_at is None for row in hub.executions(bad).values())
    assert all(row.started_at is not None for row in hub.executions(good).values())


def test_a_device_that_changes_between_look_and_act_is_left_for_the_next_look(hub: Hub) -> None:
    rollout_id = hub.create(step_timeout_s=60)
    hub.settle()
    hub.now += 61

    class Reports(Engine):
        """A report comes in after the board was read."""

        def _take_steps(self, *arguments: Any) -> bool:
            hub.report("dev-0", S.DOWNLOADING)
            return super()._take_steps(*arguments)

    hub.engine.__class__ = Reports
    hub.engine.tick(hub.now)
    states = {key[0]: row.state for key, row in hub.executions(rollout_id).items()}
    assert states == {"dev-0": "DOWNLOADING", **dict.fromkeys(IDS[1:], "TIMED_OUT")}


def test_a_verb_between_look_and_act_is_heard(hub: Hub) -> None:
    rollout_id = hub.create()

    class Paused(Engine):
        """A person pauses after the board was read."""

        def _take_steps(self, *arguments: Any) -> bool:
            hub.call(service.pause, rollout_id)
            return super()._take_steps(*arguments)

    hub.engine.__class__ = Paused
    assert not hub.engine.tick(hub.now)
    assert hub.published.messages == []


def test_devices_at_other_places_cost_nothing(hub: Hub) -> None:
    with hub.database.transaction() as session:
        session.add_all(Device(id=f"far-{n}", created_at=0.0) for n in range(50))
    hub.create()
    hub.settle()
    assert known(hub.engine).watched.popitem()[1].views.keys() == set(IDS)
