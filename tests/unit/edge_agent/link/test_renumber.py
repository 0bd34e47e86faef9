"""A restored data folder loses nothing that is new, however often it starts while cut off."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.link.outbox import Outbox, Quota
from protocol.messages import Alert, EventReport, decode
from protocol.topics import Kind
from tests.unit.edge_agent.link.killing import Dying

ROOMY = Quota(10**9, 10**9)
STATEMENTS_MAX = 12


class Died(BaseException):
    """The process is gone: nothing of it runs on."""


def die() -> None:
    raise Died


class Hub:
    """Keeps the first that comes under a number, as the real one does."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], str] = {}

    def take(self, outbox: Outbox) -> None:
        for entry in outbox.after("events", 0, 1000):
            message = decode(Kind.EVENTS, entry.payload)
            self._kept.setdefault((message.epoch, message.sequence), message.alert.text)

    def acked(self, epoch: str) -> int:
        return max((sequence for of, sequence in self._kept if of == epoch), default=0)

    def texts(self) -> list[str]:
        return sorted(self._kept.values())


class Life:
    """A device over its starts, and what it can know of them."""

    def __init__(self, folder: Path, name: str = "a") -> None:
        self.folder, self._name = folder, name
        self.outbox: Any = Outbox(folder, "d", ROOMY)
        self.written: list[str] = []
        self.alone: list[str] | None = []
        """Written since the first start without an acknowledgement since; None after one."""

    def start(self) -> None:
        self.outbox.close()
        self.outbox = Outbox(self.folder, "d", ROOMY)
        self.alone = self.alone or []

    def write(self, nth: int = 0) -> None:
        """One event; the power goes at the nth statement."""
        text = f"{self._name}{len(self.written)}"

        def make(epoch: str, sequence: int) -> EventReport:
            alert = Alert(name="n", text=text)
            return EventReport(device_id="d", epoch=epoch, sequence=sequence, at=1, alert=alert)

        before = self.outbox.counters()["outbox_events_written"]
        real, self.outbox._file.db = self.outbox._file.db, Dying(self.outbox._file.db, nth, die)
        try:
            self.outbox.append("events", make)
        except Died:
            real.close()
            self.outbox = Outbox(self.folder, "d", ROOMY)
            died = True
        else:
            self.outbox._file.db = real
            died = False
        if self.outbox.counters()["outbox_events_written"] > before:
            self.written.append(text)
            if self.alone is not None:
                self.alone.append(text)
        if died:
            self.start()

    def meet(self, hub: Hub) -> None:
        """What the sender does with what the hub answers, until both agree."""
        hub.take(self.outbox)
        acked = hub.acked(self.outbox.epoch)
        if self.outbox.acknowledge("events", self.outbox.epoch, acked):
            self.alone = None
        elif not self.outbox.was_given("events", acked):
            assert self.outbox.begin_anew()
            self.meet(hub)

    def copy(self, folder: Path) -> Life:
        self.outbox.close()
        shutil.copytree(self.folder, folder)
        restored = Life(folder, "b")
        self.start()
        return restored


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, STATEMENTS_MAX)),
        st.tuples(st.sampled_from(["start", "meet"]), st.just(0)),
    ),
    max_size=12,
)


def take(life: Life, hub: Hub, steps: list[tuple[str, int]]) -> None:
    for verb, nth in steps:
        if verb == "write":
            life.write(nth)
        elif verb == "start":
            life.start()
        else:
            life.meet(hub)


@settings(max_examples=100, deadline=None)
@given(before=STEPS, after=STEPS, later=STEPS)
def test_all_that_either_life_wrote_arrives_and_once_unless_the_copy_was_made_cut_off(
    before: list[tuple[str, int]], after: list[tuple[str, int]], later: list[tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        hub, life = Hub(), Life(Path(name) / "first")
        take(life, hub, before)
        unsure = set(life.alone or [])
        restored = life.copy(Path(name) / "second")
        for _ in range(len(after) + 1):
            life.write()
        life.meet(hub)
        take(restored, hub, [step for step in after if step[0] != "meet"])
        restored.meet(hub)
        take(restored, hub, later)
        restored.meet(hub)
        life.outbox.close()
        restored.outbox.close()
        texts = hub.texts()
        assert set(texts) == {*life.written, *restored.written}
        assert {text for text in texts if texts.count(text) > 1} <= unsure


def copied(tmp_path: Path, hub: Hub) -> Life:
    """The copy has 1 acknowledged and 2 in flight; the hub went on with the other life to 9."""
    life = Life(tmp_path / "first")
    life.write()
    life.meet(hub)
    life.write()
    restored = life.copy(tmp_path / "second")
    for _ in range(7):
        life.write()
    life.meet(hub)
    life.outbox.close()
    return restored


def test_what_was_in_flight_in_the_copy_is_the_old_epochs_and_is_counted(tmp_path: Path) -> None:
    hub = Hub()
    restored = copied(tmp_path, hub)
    restored.write()
    restored.start()
    restored.write()
    restored.meet(hub)
    assert hub.texts() == sorted([*(f"a{n}" for n in range(9)), "b0", "b1"])
    counters = restored.outbox.counters()
    assert (counters["outbox_events_left"], counters["outbox_telemetry_left"]) == (1, 0)


def test_a_kill_after_an_acknowledgement_of_what_was_never_given_changes_nothing(
    tmp_path: Path,
) -> None:
    hub = Hub()
    restored = copied(tmp_path, hub)
    restored.write()
    assert not restored.outbox.acknowledge("events", restored.outbox.epoch, 9)
    restored.start()
    restored.meet(hub)
    assert "b0" in hub.texts()


@pytest.mark.parametrize("acknowledging", [True, False])
def test_an_outbox_of_an_older_agent_goes_on(tmp_path: Path, acknowledging: bool) -> None:
    """It noted no start, and a start that was noted before it ran is void once it was heard."""
    hub = Hub()
    older = Life(tmp_path)
    older.write()
    if acknowledging:
        older.meet(hub)
    else:
        older.outbox._file.db.execute("DROP TABLE starts")
    older.outbox._file.db.execute("CREATE TEMP TABLE starts (stream, number, acked)")
    older.write()
    older.start()
    older.write()
    older.start()
    assert older.outbox.begin_anew()
    older.meet(hub)
    assert hub.texts()[-1] == "a2"
    assert older.outbox.counters()["outbox_events_left"] == (1 if acknowledging else 2)


def test_what_one_renewal_moved_the_next_one_moves_again(tmp_path: Path) -> None:
    hub = Hub()
    life = Life(tmp_path)
    life.write()
    life.meet(hub)
    life.start()
    life.write()
    assert life.outbox.begin_anew()
    life.start()
    life.write()
    assert life.outbox.begin_anew()
    life.meet(hub)
    assert hub.texts() == ["a0", "a1", "a2"]
