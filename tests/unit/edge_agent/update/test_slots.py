"""All slots together: what befalls one is not the others' trouble."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.detect.bundle import load_bundle as really
from edge_agent.errors import DetectorError
from edge_agent.update import load
from edge_agent.update.boot_guard import BootCount, boot_name
from edge_agent.update.history import remember
from edge_agent.update.probation import SlotHealth
from edge_agent.update.slots import BLIND_EVERY_S
from edge_agent.update.states import (
    Committed,
    Passage,
    UpdateRecord,
    committed_name,
    record_name,
)
from protocol.messages import SlotDesired
from protocol.states import ExecutionState
from tests.unit.edge_agent.update.slots_rig import LIMITS, Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    made.store.open()
    yield made
    made.die()
    made.store.close()


def counted(box: Box, slot: str) -> BootCount | None:
    return box.store.load(boot_name(slot), BootCount)


def test_a_slot_that_cannot_be_loaded_keeps_no_other_from_being_stable(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at as often as a start takes to be forgotten: none ever was."""
    good, bad = box.place(1), box.place(2)
    box.commit("line", good)
    box.commit("other", bad)

    def load_bundle(folder: Path, digest: str, options: Any) -> Any:
        if digest == bad:
            box.now += 0.5  # it takes its time to fail
            raise DetectorError("the runtime cannot load it (simulated)")
        return really(folder, digest, options)

    monkeypatch.setattr(load, "load_bundle", load_bundle)
    box.start()
    assert (box.serves("line"), box.serves("other")) == (good, None)
    assert counted(box, "line") == BootCount(digest=good, starts=1)
    for _ in range(int(3 * LIMITS.boot_stable_s / 0.25)):
        box.tick(0.25)
    assert counted(box, "line") is None
    monkeypatch.undo()
    box.tick(BLIND_EVERY_S)
    assert box.serves("other") == bad
    assert counted(box, "other") == BootCount(digest=bad, starts=1)
    box.tick(LIMITS.boot_stable_s)
    assert counted(box, "other") is None


def test_a_model_that_answers_nothing_is_not_stable_however_long_it_lives(box: Box) -> None:
    """The agent ends itself after a minute of that, and the starts are to be counted."""
    old, new = box.place(1), box.place(2)
    box.commit("line", new, old)
    box.start()
    box.health = SlotHealth(captured=900, inferred=0)
    box.tick(2 * LIMITS.boot_stable_s)
    assert counted(box, "line") == BootCount(digest=new, starts=1)
    box.health = SlotHealth(captured=900, inferred=1)
    box.tick()
    assert counted(box, "line") is None


def succeeded(box: Box, digest: str, previous: str | None) -> None:
    wanted = SlotDesired(bundle_digest=digest, manifest_bytes=1, model="tiny", version=2)
    state = ExecutionState.SUCCEEDED
    record = UpdateRecord(
        slot="line",
        desired=wanted,
        state=state,
        previous_digest=previous,
        passages=(Passage(number=1, state=state, at=1.7e9),),
    )
    box.store.save(record_name("line"), record)
    remember(box.store, "line", record, LIMITS)


def test_a_rotten_file_of_what_is_committed_is_written_anew(box: Box) -> None:
    old, new = box.place(1), box.place(2)
    succeeded(box, new, old)
    (box.store.state / f"{committed_name('line')}.json").write_text("garbage")
    box.start()
    assert box.serves() == new
    assert box.committed() == Committed(digest=new, previous_digest=old)


def test_what_was_committed_since_by_other_means_stays(box: Box) -> None:
    old, new = box.place(1), box.place(2)
    succeeded(box, new, old)
    box.commit("line", old, new)
    box.start()
    assert (box.serves(), box.committed().digest) == (old, old)
