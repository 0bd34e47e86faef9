"""A bundle gets onto the disk: judged first, with what was fetched before, and mended."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import rfc8785

from edge_agent.config import Limits
from edge_agent.errors import BundleError
from edge_agent.observe.hardware import capabilities
from edge_agent.store import DiskFullError, Store
from edge_agent.update.acquire import Acquire, AcquireContext
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.fetch import ChunkRead, Transport
from edge_agent.update.judging import Judging
from edge_agent.update.retention import Needs
from edge_agent.update.states import Outcome
from protocol.bundles import MANIFEST_PATH, MODEL_PATH
from protocol.chunks import from_ranges, sha256_hex
from protocol.messages import BlobWant, SlotDesired
from protocol.states import ExecutionEvent
from tests.fixtures.models import write_bundle

PADDING_BYTES = 300_000
NO_ROOM_KEPT = Limits(disk_free_bytes_min=0)


class Device:
    """One slot's acquisition, with a hub that answers every want at the next tick."""

    def __init__(
        self, store: Store, folder: Path, limits: Limits, *, slot: str = "tiny", variant: int = 1
    ) -> None:
        self.store, self.made = store, folder / "made"
        self.bundles = BundleStore(store.bundles, store.compiled)
        self.digest, self.manifest = write_bundle(
            self.made, padding_bytes=PADDING_BYTES, variant=variant
        )
        self.manifest_bytes = (self.made / MANIFEST_PATH).read_bytes()
        self.desired = SlotDesired(
            bundle_digest=self.digest,
            manifest_bytes=len(self.manifest_bytes),
            model=self.manifest.model,
            version=self.manifest.version,
        )
        self.floors: dict[str, int] = {}
        self.wants: list[BlobWant] = []
        self.asked: Counter[str] = Counter()
        self.now = 0.0
        self.needs = Needs()
        transport = Transport(
            connected=lambda: True,
            want=self.want,
            listen=lambda _sha256: None,
            unlisten=lambda _sha256: None,
            read_http=lambda _spans, _give, _until: None,
            submit=lambda _job: None,
            deliver=lambda _chunk: None,
        )
        judging = Judging(self.bundles, limits, capabilities, lambda: self.floors, lambda: 0.0)
        context = AcquireContext(
            store, self.bundles, transport, limits, judging, lambda: self.needs, Counter()
        )
        self.folder = store.partial / slot
        self.acquire = Acquire(slot, context)

    def want(self, blobs: tuple[BlobWant, ...]) -> bool:
        self.wants += blobs
        return True

    def finish(self, begun: Outcome | None) -> Outcome:
        """Let what was begun go on until it has its outcome."""
        outcome = begun
        for _ in range(50):
            if outcome is not None:
                return outcome
            self.now += 0.1
            outcome = self.acquire.tick(self.desired, self.now)
            self.answer()
        raise AssertionError("it did not end")

    def answer(self) -> None:
        wants, self.wants = self.wants, []
        for want in wants:
            self.asked[want.sha256] += 1
            for index in sorted(from_ranges(want.ranges)):
                data = self._chunk(want.sha256, index)
                if data:
                    self.acquire.take_chunk(ChunkRead(want.sha256, index, data), self.now)

    def _chunk(self, sha256: str, index: int) -> bytes:
        if sha256 == self.digest:
            return self.manifest_bytes if index == 0 else b""
        entry = next(f for f in self.manifest.files if f.blob.sha256 == sha256)
        chunk = entry.blob.chunks[index]
        data = (self.made / entry.path).read_bytes()
        return data[chunk.offset : chunk.offset + chunk.length]

    def get(self) -> Outcome:
        """The whole way to the disk."""
        looked = self.finish(self.acquire.look(self.desired, self.now))
        if looked.event is not None:
            return looked
        self.finish(self.acquire.fetch(self.desired, self.now))
        return self.acquire.place(self.desired)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    store = Store(tmp_path / "data")
    store.open()
    yield Device(store, tmp_path, NO_ROOM_KEPT)
    store.close()


def test_the_whole_way(device: Device) -> None:
    assert device.get() == Outcome()
    assert device.bundles.verify(device.digest) == device.manifest
    device.acquire.forget()
    assert not (device.store.partial / "tiny").exists()
    assert device.get() == Outcome()
    assert max(device.asked.values()) == 1, "what is held is not fetched again"


def test_a_manifest_is_fetched_once_and_again_where_it_was_lost(device: Device) -> None:
    device.finish(device.acquire.look(device.desired, 0.0))
    device.finish(device.acquire.look(device.desired, 0.0))
    assert device.asked[device.digest] == 1
    kept = device.store.partial / "tiny" / device.digest
    kept.write_bytes(b"torn")
    device.finish(device.acquire.fetch(device.desired, device.now))
    assert device.asked[device.digest] == 2
    assert device.acquire.place(device.desired) == Outcome()


def test_a_manifest_that_was_given_up_is_forgotten(device: Device) -> None:
    device.finish(device.acquire.look(device.desired, 0.0))
    other = device.desired.model_copy(update={"bundle_digest": "f" * 64})
    assert device.acquire.look(other, 0.0) is None
    device.acquire.close()
    assert device.get() == Outcome()


def test_damage_is_found_before_it_is_placed_and_fetched_again(device: Device) -> None:
    device.finish(device.acquire.look(device.desired, 0.0))
    device.finish(device.acquire.fetch(device.desired, 0.0))
    model = device.manifest.file(MODEL_PATH).sha256
    (device.store.partial / "tiny" / model).write_bytes(b"rot")
    with pytest.raises(BundleError, match="fetched again"):
        device.acquire.place(device.desired)
    device.finish(device.acquire.fetch(device.desired, device.now))
    assert device.acquire.place(device.desired) == Outcome()
    assert device.asked[model] == 2
    assert device.asked[device.manifest.file("padding.bin").sha256] == 1


def test_a_held_bundle_with_bit_rot_gets_only_its_bad_file(device: Device) -> None:
    device.get()
    device.acquire.forget()
    path = device.bundles.path(device.digest) / MODEL_PATH
    path.unlink()
    path.write_bytes(b"rot")
    with pytest.raises(BundleError):
        device.acquire.place(device.desired)
    assert not device.bundles.has(device.digest)
    device.finish(device.acquire.fetch(device.desired, device.now))
    assert device.acquire.place(device.desired) == Outcome()
    assert device.asked[device.manifest.file("padding.bin").sha256] == 1


@pytest.mark.parametrize(
    ("change", "event", "words"),
    [
        ({"version": 7}, ExecutionEvent.REFUSED, "desired is tiny v7"),
        ({"manifest_bytes": 10**9}, ExecutionEvent.ERROR, "over the limit"),
    ],
)
def test_what_was_not_promised_is_not_downloaded(
    device: Device, change: dict[str, int], event: ExecutionEvent, words: str
) -> None:
    device.desired = device.desired.model_copy(update=change)
    outcome = device.get()
    assert (outcome.event, words in outcome.reason) == (event, True)
    assert set(device.asked) <= {device.digest}


def test_a_bundle_of_one_enormous_chunk_is_refused(device: Device) -> None:
    """The agent would have read it into memory, on the thread that serves."""
    fields = json.loads(device.manifest_bytes)
    blob, length = fields["files"][0]["blob"], 1024**3
    blob |= {"size_bytes": length, "chunks": [{**blob["chunks"][0], "length": length}]}
    device.manifest_bytes = rfc8785.dumps(fields)
    device.digest = sha256_hex(device.manifest_bytes)
    change = {"bundle_digest": device.digest, "manifest_bytes": len(device.manifest_bytes)}
    device.desired = device.desired.model_copy(update=change)
    outcome = device.finish(device.acquire.look(device.desired, device.now))
    assert outcome.event is ExecutionEvent.REFUSED
    assert "less than or equal to 131072" in outcome.reason


def test_a_floor_that_was_raised_meanwhile_is_heard_before_placing(device: Device) -> None:
    device.finish(device.acquire.look(device.desired, 0.0))
    device.finish(device.acquire.fetch(device.desired, 0.0))
    device.floors = {"tiny": 2}
    outcome = device.acquire.place(device.desired)
    assert (outcome.event, "revoked" in outcome.reason) == (ExecutionEvent.REFUSED, True)
    assert not device.bundles.has(device.digest)


def test_without_room_nothing_is_fetched(device: Device, tmp_path: Path) -> None:
    full = Device(device.store, tmp_path / "full", Limits(disk_free_bytes_min=10**15))
    with pytest.raises(DiskFullError):
        full.get()
    assert set(full.asked) <= {full.digest}


def hold(store: Store, monkeypatch: pytest.MonkeyPatch, disk_bytes: int) -> None:
    """Let the store lie on a disk of this size, of which downloads alone take room."""

    def usage(_path: Path) -> shutil._ntuple_diskusage:
        taken = sum(p.stat().st_blocks * 512 for p in store.partial.rglob("*") if p.is_file())
        return shutil._ntuple_diskusage(disk_bytes, taken, disk_bytes - taken)

    monkeypatch.setattr(shutil, "disk_usage", usage)


@pytest.mark.parametrize("slot", ["tiny", "other"])
def test_what_an_ended_attempt_had_reserved_starves_no_later_one(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slot: str
) -> None:
    hold(device.store, monkeypatch, PADDING_BYTES * 3 // 2)
    device.finish(device.acquire.look(device.desired, 0.0))
    assert device.acquire.fetch(device.desired, 0.0) is None
    device.acquire.close()
    later = Device(device.store, tmp_path / "b", NO_ROOM_KEPT, slot=slot, variant=2)
    assert later.get() == Outcome()
    assert not (device.folder / device.manifest.file("padding.bin").sha256).exists()


def test_what_a_repair_had_reserved_gives_way_to_an_attempt(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(device.store, monkeypatch, PADDING_BYTES * 3 // 2)
    repair = device.store.partial / ".repair"
    repair.mkdir()
    (repair / "reserved").write_bytes(b"r" * PADDING_BYTES)
    assert device.get() == Outcome()
    assert not repair.exists()


def test_what_an_open_attempt_has_reserved_stays(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(device.store, monkeypatch, PADDING_BYTES * 3 // 2)
    device.finish(device.acquire.look(device.desired, 0.0))
    assert device.acquire.fetch(device.desired, 0.0) is None
    later = Device(device.store, tmp_path / "b", NO_ROOM_KEPT, slot="other", variant=2)
    later.needs = Needs(attempts=frozenset({"tiny", "other"}))
    with pytest.raises(DiskFullError):
        later.get()
    device.finish(device.acquire.tick(device.desired, 0.0))
    assert device.acquire.place(device.desired) == Outcome()


def test_while_there_is_room_an_ended_attempt_goes_on_when_it_is_asked_for_again(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(device.store, monkeypatch, PADDING_BYTES * 4)
    device.finish(device.acquire.look(device.desired, 0.0))
    device.finish(device.acquire.fetch(device.desired, 0.0))
    later = Device(device.store, tmp_path / "b", NO_ROOM_KEPT, slot="other", variant=2)
    assert later.get() == Outcome()
    assert device.get() == Outcome()
    assert max(device.asked.values()) == 1


def test_what_an_ended_attempt_had_reserved_keeps_no_manifest_from_a_full_disk(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.finish(device.acquire.look(device.desired, 0.0))
    assert device.acquire.fetch(device.desired, 0.0) is None
    device.acquire.close()
    hold(device.store, monkeypatch, PADDING_BYTES)
    later = Device(device.store, tmp_path / "b", NO_ROOM_KEPT, variant=2)
    assert later.acquire.look(later.desired, 0.0) is None
    assert list(device.folder.iterdir()) == []


def test_a_folder_among_what_was_fetched_is_taken_away(device: Device) -> None:
    partial = device.store.partial / "tiny"
    (partial / "notes" / "within").mkdir(parents=True)
    assert device.get() == Outcome()
    assert not (partial / "notes").exists()
