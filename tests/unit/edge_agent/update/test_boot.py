"""What serves right after a start: the committed bundle, the one before, or a revoked one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.config import Limits
from edge_agent.detect.options import LoadOptions
from edge_agent.observe.hardware import capabilities
from edge_agent.store import Store
from edge_agent.update.boot import Boot
from edge_agent.update.boot_guard import PATIENCE
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.history import History, history_name, remember
from edge_agent.update.judging import Judging
from edge_agent.update.load import Loader
from edge_agent.update.slot_state import SlotState
from edge_agent.update.standing import choices
from edge_agent.update.start_note import StartNote, start_note_name
from edge_agent.update.states import Committed, Passage, UpdateRecord, opened
from protocol.builds import Format
from protocol.bundles import MANIFEST_PATH, MODEL_FILES
from protocol.states import ExecutionState
from tests.fixtures.models import write_bundle
from tests.unit.edge_agent.update.updater_rig import S, wish

LIMITS = Limits()
SLOT = "tiny"


class Device:
    """A disk with two bundles, the second of them committed last."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.floors = store, {"tiny": 1}
        self.bundles = BundleStore(store.bundles, store.compiled)
        self._folder = folder
        self.first, self.second = (self.place(n) for n in (1, 2))
        self.commit(self.second, self.first)
        judging = Judging(self.bundles, LIMITS, capabilities, lambda: self.floors, lambda: 0.0)
        self.boot = Boot(SLOT, store, judging, Loader(self.bundles, LoadOptions(threads=1), LIMITS))

    def place(self, version: int) -> str:
        folder = self._folder / str(version)
        digest, manifest = write_bundle(folder, variant=version, version=version)
        files = {entry.blob.sha256: folder / entry.path for entry in manifest.files}
        self.bundles.place(digest, (folder / MANIFEST_PATH).read_bytes(), files)
        return digest

    def commit(self, digest: str, previous: str | None = None) -> None:
        self.store.save("slot-tiny", Committed(digest=digest, previous_digest=previous))

    def succeeded(self, digest: str, end: ExecutionState = S.SUCCEEDED) -> None:
        """An attempt of a bundle is over, and is remembered."""
        history = self.store.load(history_name(SLOT), History) or History()
        desired = wish("c").model_copy(update={"bundle_digest": digest})
        record = opened(SLOT, desired, None, 10 * len(history.attempts), 0.0)
        passages = (*record.passages, Passage(number=record.transition + 1, state=end, at=1.0))
        record = record.model_copy(update={"state": end, "passages": passages})
        remember(self.store, SLOT, record, LIMITS)

    def note(self) -> StartNote | None:
        return self.store.load(start_note_name(SLOT), StartNote)

    def damage(self, digest: str) -> None:
        path = self.bundles.path(digest) / MODEL_FILES[Format.ONNX][0]
        path.write_bytes(path.read_bytes()[:-1] + b"\0")

    def served(self) -> tuple[str | None, list[str]]:
        """Which bundle a start serves, and the names of its troubles."""
        loaded, troubles = self.boot.load()
        if loaded is None:
            return None, [trouble.name for trouble in troubles]
        loaded.detector.close()
        return loaded.digest, [trouble.name for trouble in troubles]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    store = Store(tmp_path / "data")
    store.open()
    yield Device(store, tmp_path)
    store.close()


def test_the_committed_one_serves(device: Device) -> None:
    assert device.served() == (device.second, [])


def test_a_damaged_one_is_set_aside_and_the_one_before_serves(device: Device) -> None:
    device.damage(device.second)
    assert device.served() == (device.first, ["bundle_not_served"])
    assert device.bundles.damaged() == [device.second]


def test_a_bad_golden_frame_takes_nobodys_sight(device: Device) -> None:
    """The pictures of all versions are one file: a bad sector must not take them all."""
    for digest in (device.first, device.second):
        for path in device.bundles.path(digest).glob("golden/*"):
            path.write_bytes(b"rot")
        (device.bundles.path(digest) / "golden.json").write_bytes(b"rot")
    assert device.served() == (device.second, [])
    assert device.bundles.damaged() == []


def test_a_revoked_one_is_passed_over_for_the_one_before(device: Device) -> None:
    device.commit(device.first, device.second)
    device.floors = {"tiny": 2}
    assert device.served() == (device.second, ["bundle_not_served"])


def test_a_revoked_one_serves_where_there_is_no_other(device: Device) -> None:
    device.floors = {"tiny": 3}
    digest, troubles = device.served()
    assert digest == device.second
    assert troubles[-1] == "revoked"


def test_what_ended_the_agent_too_often_makes_way_for_the_one_before(device: Device) -> None:
    for _ in range(LIMITS.boot_starts_max):
        assert device.served()[0] == device.second
    digest, troubles = device.served()
    assert (digest, troubles) == (device.first, ["boot_loop"])
    assert device.boot.passed_over


def test_without_one_before_it_goes_on_longer_and_is_tried_again_after_a_while(
    device: Device,
) -> None:
    device.commit(device.second)
    for _ in range(LIMITS.boot_starts_max):
        assert device.served() == (device.second, [])
    for _ in range(LIMITS.boot_starts_max * (PATIENCE - 1)):
        assert device.served() == (device.second, ["boot_loop"])
    assert device.served() == (None, ["boot_loop"])
    device.boot.guard.stable()
    assert device.served()[0] == device.second


def test_as_a_last_resort_another_that_stood_its_attempt_serves(device: Device) -> None:
    third = device.place(3)
    device.commit(third, device.second)
    device.succeeded(device.first)
    device.damage(third)
    device.damage(device.second)
    digest, troubles = device.served()
    assert (digest, troubles[-1]) == (device.first, "last_resort")
    note = device.note()
    assert note is not None
    assert note.digest == device.first
    assert third[:12] in note.why[0]
    assert device.second[:12] in note.why[1]
    assert "damaged" in note.why[0]
    assert device.boot.why_not(third) == note.why[0]
    assert device.served()[0] == device.first, "set aside they are damaged still"


@pytest.mark.parametrize("end", [S.ROLLED_BACK, S.REJECTED])
def test_what_did_worse_since_is_no_last_resort(device: Device, end: ExecutionState) -> None:
    device.commit(device.second)
    device.succeeded(device.first)
    device.succeeded(device.first, end)
    device.damage(device.second)
    assert device.served()[0] is None
    note = device.note()
    assert note is not None
    assert note.digest is None


def test_a_last_resort_is_not_below_its_floor(device: Device) -> None:
    third = device.place(3)
    device.commit(third)
    for digest in (device.second, device.first):  # the newest is looked at first
        device.succeeded(digest)
    device.floors = {"tiny": 2}
    device.damage(third)
    assert device.served()[0] == device.second


def test_a_loop_ends_with_another_that_stood_and_the_loop_is_not_begun_again(
    device: Device,
) -> None:
    third = device.place(3)
    device.commit(third)
    device.succeeded(device.first)
    starts = [device.served()[0] for _ in range(LIMITS.boot_starts_max + 1)]
    assert starts == [third] * LIMITS.boot_starts_max + [device.first]
    device.boot.guard.stable()
    assert device.served() == (device.first, [])
    assert device.note() is None


def test_what_a_person_left_comes_last(device: Device) -> None:
    third = device.place(3)
    committed = Committed(digest=device.second, previous_digest=third, by_hand=True)
    device.store.save("slot-tiny", committed)
    device.damage(device.second)
    assert device.served()[0] == third
    device.succeeded(device.first)
    assert device.served()[0] == device.first


def test_nothing_was_ever_committed(device: Device) -> None:
    device.store.remove("slot-tiny")
    assert device.served() == (None, [])


def test_without_what_was_committed_a_proven_one_serves_and_the_note_says_so(
    device: Device,
) -> None:
    device.succeeded(device.first)
    device.store.remove("slot-tiny")
    assert device.served() == (device.first, ["last_resort"])
    note = device.note()
    assert note is not None
    assert "nothing is committed" in note.why[-1]


def test_killed_on_trial_it_is_no_last_resort(device: Device) -> None:
    """It had succeeded here once; the incumbent has had its starts meanwhile."""
    device.succeeded(device.first)
    device.commit(device.second)
    desired = wish("c").model_copy(update={"bundle_digest": device.first})
    record = opened(SLOT, desired, device.second, 90, 0.0)
    record = record.model_copy(update={"state": S.ROLLING_BACK})
    device.store.save("update-tiny", record)
    for _ in range(LIMITS.boot_starts_max + 1):
        assert device.served()[0] == device.second


def test_what_could_serve_is_known_without_loading_it(device: Device) -> None:
    device.succeeded(device.place(3))
    assert device.boot.able() == (device.second, device.first, device.place(3))
    for _ in range(LIMITS.boot_starts_max):
        device.served()
    assert device.boot.able() == (device.first, device.place(3)), "it has had its starts"
    device.bundles.set_aside(device.first)
    device.store.remove("history-tiny")
    assert device.boot.able() == ()


def test_what_could_take_over_from_a_revoked_one(device: Device) -> None:
    third = device.place(3)
    device.commit(device.first, device.second)
    device.succeeded(third)
    device.floors = {"tiny": 2}
    assert device.boot.turns() == (device.second, third)
    device.floors = {"tiny": 3}
    assert device.boot.turns() == (third,)
    device.bundles.set_aside(third)
    assert device.boot.turns() == ()


def test_what_ended_the_agent_takes_over_from_no_revoked_one(device: Device) -> None:
    """The revoked one serves, the other ended the agent as soon as it took over, and so on."""
    device.commit(device.first)
    device.succeeded(device.second)
    device.floors = {"tiny": 2}
    for _ in range(LIMITS.boot_starts_max):
        assert device.served()[0] == device.second
    for _ in range(LIMITS.boot_starts_max):
        digest, troubles = device.served()
        assert (digest, troubles[-1]) == (device.first, "revoked"), "also after it was started once"
        assert device.boot.turns() == ()
    device.boot.guard.stable()
    assert device.boot.turns() == (), "the agent lives, and is not put at risk again"


def test_the_starts_of_all_are_known_where_none_but_a_revoked_one_lets_the_agent_live(
    device: Device,
) -> None:
    """Each has its starts, then more of them in turn, and only then the agent rests."""
    device.commit(device.second, device.first)
    device.floors = {"tiny": 3}
    starts = LIMITS.boot_starts_max * PATIENCE
    served = [device.served()[0] for _ in range(2 * starts + 1)]
    assert served[: LIMITS.boot_starts_max] == [device.second] * LIMITS.boot_starts_max
    assert (served.count(device.second), served.count(device.first)) == (starts, starts)
    assert served[-1] is None


def test_what_ended_the_agent_does_not_come_back_as_what_was_committed(device: Device) -> None:
    for _ in range(LIMITS.boot_starts_max + 1):
        device.served()
    device.commit(device.second, device.first)  # as where the disk refused to commit the other
    device.boot.guard.stable()
    assert device.boot.returned(device.first) == ()


def test_a_manifest_that_cannot_be_read_keeps_no_agent_from_living(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked at the first tick of every life: it would have ended each of them."""
    assert device.boot.returned(device.first) == (device.second,)

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Judging, "manifest_bytes", fail)
    assert device.boot.returned(device.first) == ()
    assert device.boot.turns() == ()


@pytest.mark.parametrize("state", list(S))
def test_a_candidate_is_preferred_only_where_its_probation_was_over(state: ExecutionState) -> None:
    record = UpdateRecord(slot=SLOT, desired=wish("c"), state=state)
    committed = Committed(digest="9" * 64, previous_digest="8" * 64)
    good = ("9" * 64, "8" * 64)
    expected = ("c" * 64, *good) if state is S.COMMITTING else good
    assert choices(SlotState(SLOT, committed, record)) == expected
