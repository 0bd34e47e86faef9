"""On a disk that is really full: states and events are kept, and nothing that was is lost."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import faults
from edge_agent.link.outbox import Outbox, OutboxError, Quota
from edge_agent.reserve import RESERVE_BYTES, Reserve
from edge_agent.store import DiskFullError, StateFile, Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.reservation import Room, lacking_bytes, reserve_files
from edge_agent.update.retention import Needs
from protocol.chunks import BlobRef, describe
from tests.unit.edge_agent.link.test_outbox import covered, event, sample, window

DISK_BYTES = 4 * 1024 * 1024
ROOMY = Quota(10**9, 10**9)


class Note(StateFile):
    version: int = 1
    text: str


class SmallDisk:
    """A disk of a few MiB with a data folder, and ballast that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._ballast = folder, folder / "ballast"
        self.store = Store(folder / "data")
        self.store.open()

    def fill(self) -> None:
        """Leave no block free."""
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (65_536, 4096, 1):
                try:
                    while True:
                        os.write(descriptor, b"b" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC
        finally:
            os.close(descriptor)

    def relieve(self) -> None:
        self._ballast.unlink()

    def outbox(self) -> Outbox:
        return Outbox(self.store.outbox, "d", ROOMY, self.store.reserve)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small tmpfs, and not everywhere")
    disk = SmallDisk(tmp_path)
    yield disk
    disk.store.close()
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=False)


def test_a_state_is_kept_again_and_again(disk: SmallDisk) -> None:
    disk.store.save("slot-line", Note(text="0"))
    disk.fill()
    for number in range(1, 100):
        disk.store.save("slot-line", Note(text=str(number) * 500))
        disk.store.save(f"update-{number % 8}", Note(text="x" * 2000))
    kept = disk.store.load("slot-line", Note)
    assert kept is not None and kept.text == "99" * 500
    assert not disk.store.reserve.held
    disk.relieve()
    disk.store.save("slot-line", Note(text="room"))
    assert disk.store.reserve.held


def test_without_the_reserve_the_old_state_stays(disk: SmallDisk) -> None:
    disk.store.save("slot-line", Note(text="old"))
    disk.store.reserve.give_up()
    disk.fill()
    with pytest.raises(OSError, match="No space"):
        disk.store.save("slot-line", Note(text="new"))
    kept = disk.store.load("slot-line", Note)
    assert kept is not None and kept.text == "old"
    assert disk.store.leftovers() == []


def test_events_are_kept_and_what_is_worth_less_is_refused(disk: SmallDisk) -> None:
    outbox = disk.outbox()
    outbox.append("telemetry", window)
    disk.fill()
    for number in range(1, 101):
        assert outbox.append_once("line", number, "events", event) == number
    image = b"jpeg" * 1000
    with pytest.raises(OutboxError, match="full"):
        outbox.append("telemetry", window)
    with pytest.raises(OutboxError, match="full"):
        outbox.append_sample(sample(image, "random"), image, "random")
    assert covered(outbox, "events") == list(range(1, 101))
    assert outbox.acknowledge("events", outbox.epoch, 60)
    disk.store.save("update-line", Note(text="a state still finds room"))
    disk.relieve()
    outbox.append("telemetry", window)
    assert disk.store.reserve.held
    assert covered(outbox, "telemetry") == [1, 2]
    assert list((disk.store.outbox / "images").iterdir()) == []
    outbox.close()


def test_events_that_fill_all_leave_room_for_states_and_acknowledgements(disk: SmallDisk) -> None:
    outbox = disk.outbox()
    disk.fill()
    number = 0
    with pytest.raises(OutboxError, match="make room"):
        for number in range(1, 5000):
            outbox.append_once("line", number, "events", event)
    assert number > 300
    for acked in range(32, number, 32):
        disk.store.save(f"update-{acked % 4}", Note(text="x" * 4000))
        assert outbox.acknowledge("events", outbox.epoch, acked)
    assert outbox.append_once("line", number, "events", event) == number
    assert covered(outbox, "events") == list(range(acked + 1, number + 1))
    outbox.close()


def test_what_is_refused_is_not_counted_as_told(disk: SmallDisk) -> None:
    outbox = disk.outbox()
    disk.store.reserve.give_up()
    disk.fill()
    kept, number = [], 0
    for number in range(1, 2000):
        try:
            kept.append(outbox.append_once("line", number, "events", event))
        except OutboxError as error:
            assert "make room" in str(error)
            break
    assert number < 1999, "the disk never refused"
    assert outbox.told("line") == number - 1
    assert covered(outbox, "events") == kept
    disk.relieve()
    assert outbox.append_once("line", number, "events", event) == number
    outbox.close()


def test_a_start_on_a_full_disk_goes_on_with_what_it_has(disk: SmallDisk) -> None:
    outbox = disk.outbox()
    outbox.append_once("line", 1, "events", event)
    epoch = outbox.epoch
    outbox.close()
    disk.store.save("slot-line", Note(text="old"))
    disk.store.close()
    disk.fill()
    disk.store = Store(disk.store.data_dir)
    disk.store.open()
    assert disk.store.reserve.held, "an earlier process left it"
    again = disk.outbox()
    assert (again.epoch, again.told("line")) == (epoch, 1)
    assert again.append_once("line", 2, "events", event) == 2
    disk.store.save("slot-line", Note(text="new"))
    again.close()


def test_a_download_has_all_of_its_room_or_none(disk: SmallDisk) -> None:
    store, bundles = disk.store, BundleStore(disk.store.bundles)
    folder = store.partial / "line"
    folder.mkdir()

    def files(count: int, name: bytes) -> dict[str, BlobRef]:
        refs = [describe(name + bytes([number]) * 500_000) for number in range(count)]
        return {ref.sha256: ref for ref in refs}

    first, second, small = files(4, b"a"), files(4, b"b"), files(1, b"c")

    def require(wanted: dict[str, BlobRef], kept_free_bytes: int = 0) -> None:
        room = Room(folder, store, bundles, Needs(), kept_free_bytes)
        room.require(lacking_bytes(folder, wanted), {*first, *wanted})

    require(first)
    reserve_files(folder, first)
    require(first, kept_free_bytes=RESERVE_BYTES)
    with pytest.raises(DiskFullError):
        require(second)
    with pytest.raises(OSError, match="No space"):
        reserve_files(folder, second)
    assert {path.name for path in folder.iterdir()} == set(first)
    require(small)
    with pytest.raises(DiskFullError):
        require(small, kept_free_bytes=DISK_BYTES)
    # Where `first` is wanted no more, its room is there for what is.
    Room(folder, store, bundles, Needs(), 0).require(lacking_bytes(folder, second), second)
    assert set(reserve_files(folder, second)) == set(second)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_reserve_is_given_up_for_a_state_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = Store(tmp_path)
    store.open()
    write, refusals = os.write, [number, errno.EIO]

    def refuse(descriptor: int, data: bytes) -> int:
        if refusals:
            raise OSError(refusals.pop(0), "refused")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(OSError, match="refused"):
        store.save("note", Note(text="a broken disk is no full one"))
    assert not store.reserve.held
    store.save("note", Note(text="kept"))
    assert store.reserve.held, "there is room again"
    refusals[:] = [errno.EIO]
    with pytest.raises(OSError, match="refused"):
        store.save("note", Note(text="a broken disk is no full one"))
    assert store.reserve.held


def test_a_state_and_an_event_outlive_a_fault_that_says_full(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    outbox = Outbox(store.outbox, "d", ROOMY, store.reserve)
    faults.install("store.write=full,outbox.append=full")
    try:
        store.save("note", Note(text="kept"))
        assert outbox.append_once("line", 1, "events", event) == 1
    finally:
        faults.install("")
    assert store.load("note", Note) is not None
    assert covered(outbox, "events") == [1]


def test_a_disk_that_keeps_no_room_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    reserve = Reserve(tmp_path / ".reserve")
    assert reserve.take() and not reserve.held and not reserve.out
    assert not reserve.give_up()
