"""Bit rot in a bundle that must stay is found, and only what is damaged is fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.config import Limits
from edge_agent.store import DiskFullError, Store
from edge_agent.update.bundle_store import DAMAGED, BundleStore
from edge_agent.update.fetch import Transport
from edge_agent.update.repair import AGAIN_S, REPAIR_FOLDER, Repair, RepairContext
from edge_agent.update.reservation import Room, lacking_bytes, reserve_files
from edge_agent.update.retention import Needs
from protocol.bundles import MANIFEST_PATH, Manifest
from protocol.chunks import BlobRef
from protocol.messages import BlobWant
from tests.fixtures.models import write_bundle

BAD, UNPROVEN = "model.onnx", "golden/000.png"


class Rig:
    """A device with a bundle, and a hub that answers wants where it is told to."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "data")
        self.store.open()
        self.bundles = BundleStore(self.store.bundles)
        self.made = folder / "made"
        self.digest, self.manifest = write_bundle(self.made, model_data=b"model" * 50_000)
        self.manifest_bytes = (self.made / MANIFEST_PATH).read_bytes()
        files = {f.blob.sha256: self.made / f.path for f in self.manifest.files}
        copies = {}
        for sha256, path in files.items():  # copies, not links: damage must not reach the hub's
            copies[sha256] = folder / sha256
            copies[sha256].write_bytes(path.read_bytes())
        self.bundles.place(self.digest, self.manifest_bytes, copies)
        self.wants: list[BlobWant] = []
        self.alerts: list[str] = []
        self.jobs: list[Callable[[], None]] = []
        self.pinned = {self.digest}
        self.now = 0.0
        self.repair = self.start()

    def start(self) -> Repair:
        transport = Transport(
            connected=lambda: True,
            want=self.want,
            listen=lambda _sha256: None,
            unlisten=lambda _sha256: None,
            read_http=lambda _sha256, _start, _length: b"",
            submit=lambda _job: None,
            deliver=lambda _chunk: None,
        )
        context = RepairContext(
            self.store,
            self.bundles,
            transport,
            Limits(disk_free_bytes_min=0),
            submit=self.jobs.append,
            needs=lambda: Needs(frozenset(self.pinned)),
            alert=lambda name, _text: self.alerts.append(name),
            counters=Counter(),
        )
        return Repair(context)

    def want(self, blobs: tuple[BlobWant, ...]) -> bool:
        self.wants += blobs
        return True

    def repair_files(self) -> list[Path]:
        return list((self.store.partial / REPAIR_FOLDER).iterdir())

    def rot(self, path: str) -> None:
        (self.bundles.path(self.digest) / path).write_bytes(b"rot")

    def tick(self, *, busy: bool = False, seconds: float = 1.0) -> None:
        self.now += seconds
        self.repair.tick(self.now, busy=busy)
        jobs, self.jobs[:] = list(self.jobs), []
        for job in jobs:
            job()

    def answer(self) -> None:
        """The hub sends all that was wanted."""
        refs = {f.blob.sha256: (f.blob, self.made / f.path) for f in self.manifest.files}
        wants, self.wants = self.wants, []
        for want in wants:
            ref, path = refs[want.sha256]
            data = path.read_bytes()
            for index, chunk in enumerate(ref.chunks):
                piece = data[chunk.offset : chunk.offset + chunk.length]
                self.repair.take_chunk(want.sha256, index, piece, self.now)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def is_repaired(rig: Rig) -> None:
    """As soon as the hub has answered, and told once."""
    rig.answer()
    for _ in range(3):
        rig.tick()
    assert rig.bundles.verify(rig.digest) == rig.manifest
    assert rig.repair.waiting == 0
    assert rig.alerts == ["bundle_damaged", "bundle_repaired"]


def test_a_whole_bundle_is_left_alone(rig: Rig) -> None:
    rig.repair.check({rig.digest})
    for _ in range(3):
        rig.tick()
    assert rig.wants == [] and rig.alerts == []
    assert rig.bundles.has(rig.digest)


def test_a_bundle_with_bad_golden_frames_serves_on_while_they_are_fetched(rig: Rig) -> None:
    rig.rot(UNPROVEN)
    rig.repair.check({rig.digest})
    for _ in range(3):
        rig.tick()
        rig.bundles.verify(rig.digest, to_serve=True)
    assert rig.repair.waiting == 1 and rig.bundles.damaged() == []
    assert [want.sha256 for want in rig.wants] == [rig.manifest.file(UNPROVEN).sha256]
    is_repaired(rig)
    assert [p.name for p in rig.store.bundles.iterdir()] == [rig.digest]


def test_one_with_bad_golden_frames_that_is_pruned_meanwhile_is_not_fetched(rig: Rig) -> None:
    rig.rot(UNPROVEN)
    rig.repair.check({rig.digest})
    rig.tick()
    rig.bundles.remove(rig.digest)
    for _ in range(3):
        rig.tick()
    assert rig.repair.waiting == 0 and rig.wants == []


def test_only_the_damaged_file_is_fetched(rig: Rig) -> None:
    rig.rot(BAD)
    rig.repair.check({rig.digest})
    rig.tick()
    rig.tick()
    assert rig.repair.waiting == 1 and not rig.bundles.has(rig.digest)
    rig.tick()
    assert [want.sha256 for want in rig.wants] == [rig.manifest.file(BAD).sha256]
    is_repaired(rig)
    assert list(rig.store.partial.iterdir()) == [] and rig.store.leftovers() == []


def test_an_attempt_comes_first(rig: Rig) -> None:
    rig.rot(BAD)
    rig.repair.check({rig.digest})
    for _ in range(3):
        rig.tick(busy=True)
    assert rig.wants == [] and rig.repair.waiting == 1
    rig.tick()
    rig.tick()
    rig.wants.clear()
    rig.tick(busy=True)
    rig.tick()
    rig.tick()
    assert len(rig.wants) == 1, "and goes on when the attempt has ended"


def test_a_silent_hub_is_asked_again_later(rig: Rig) -> None:
    rig.rot(BAD)
    rig.repair.check({rig.digest})
    for _ in range(3):
        rig.tick()
    rig.tick(seconds=AGAIN_S + 1)
    rig.wants.clear()
    rig.tick()
    assert rig.wants == []
    rig.tick(seconds=AGAIN_S + 1)
    rig.tick()
    assert rig.wants
    rig.answer()
    for _ in range(3):
        rig.tick()
    assert rig.bundles.verify(rig.digest) == rig.manifest


def test_a_repair_goes_on_after_a_restart(rig: Rig) -> None:
    rig.rot(BAD)
    rig.repair.check({rig.digest})
    for _ in range(3):
        rig.tick()
    rig.repair.stop()
    rig.wants.clear()
    rig.repair = rig.start()
    rig.repair.check({rig.digest})
    rig.tick()
    rig.tick()
    rig.answer()
    for _ in range(3):
        rig.tick()
    assert rig.bundles.verify(rig.digest) == rig.manifest


def test_a_bundle_whose_manifest_rotted_is_lost_and_told(rig: Rig) -> None:
    rig.rot(MANIFEST_PATH)
    rig.repair.check({rig.digest})
    for _ in range(4):
        rig.tick()
    assert rig.alerts == ["bundle_damaged", "bundle_lost"]
    assert rig.repair.waiting == 0 and rig.wants == []


def test_what_an_attempt_placed_meanwhile_needs_no_repair(rig: Rig) -> None:
    rig.rot(BAD)
    rig.repair.check({rig.digest})
    for _ in range(2):
        rig.tick(busy=True)
    sources = {f.blob.sha256: rig.made / f.path for f in rig.manifest.files}
    rig.bundles.place(rig.digest, rig.manifest_bytes, sources)
    rig.tick()
    assert rig.repair.waiting == 0 and rig.wants == []


def test_what_was_reserved_for_a_repair_that_is_not_needed_any_more_is_given_back(
    rig: Rig,
) -> None:
    begin_in_vain(rig)
    rig.bundles.remove(rig.digest)
    rig.tick(seconds=AGAIN_S + 1)
    assert rig.repair.waiting == 0 and list(rig.store.partial.iterdir()) == []


def test_what_was_reserved_for_a_bundle_that_an_attempt_placed_is_given_back(rig: Rig) -> None:
    begin_in_vain(rig)
    sources = {f.blob.sha256: rig.made / f.path for f in rig.manifest.files}
    rig.bundles.place(rig.digest, rig.manifest_bytes, sources)
    rig.tick(seconds=AGAIN_S + 1)
    assert rig.bundles.has(rig.digest) and list(rig.store.partial.iterdir()) == []


def test_what_was_reserved_for_a_bundle_that_is_lost_is_given_back(rig: Rig) -> None:
    begin_in_vain(rig)
    (rig.store.bundles / f"{DAMAGED}{rig.digest}" / MANIFEST_PATH).unlink()
    rig.tick(seconds=AGAIN_S + 1)
    assert rig.alerts[-1] == "bundle_lost" and list(rig.store.partial.iterdir()) == []


def test_what_an_earlier_process_reserved_is_given_back_where_nothing_is_damaged(rig: Rig) -> None:
    begin_in_vain(rig)
    rig.bundles.remove(rig.digest)
    rig.repair = rig.start()
    rig.repair.check(set())
    for _ in range(2):
        rig.tick()
    assert list(rig.store.partial.iterdir()) == []


def test_what_an_earlier_process_fetched_is_kept_until_all_were_read(rig: Rig) -> None:
    rig.rot(UNPROVEN)
    rig.repair.check({rig.digest})
    for _ in range(3):
        rig.tick()
    arrived = {path.name: path.stat().st_ino for path in rig.repair_files()}
    rig.repair = rig.start()
    rig.repair.check({rig.digest})
    for _ in range(3):
        rig.tick()
    assert {path.name: path.stat().st_ino for path in rig.repair_files()} == arrived != {}


def begin_in_vain(rig: Rig) -> None:
    """Reserve what a damaged bundle lacks, and let the hub be silent until that is put off."""
    rig.rot(BAD)
    rig.repair.check({rig.digest})
    for _ in range(3):
        rig.tick()
    rig.tick(seconds=AGAIN_S + 1)
    assert rig.repair.waiting == 1 and rig.repair_files()


def refs(manifest: Manifest) -> dict[str, BlobRef]:
    return {entry.blob.sha256: entry.blob for entry in manifest.files}


def test_a_download_reserves_all_of_its_files_or_none(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = refs(rig.manifest)
    needed = sum(ref.size_bytes for ref in wanted.values())
    assert lacking_bytes(tmp_path, wanted) == sum(
        max(0, ref.size_bytes - (tmp_path / sha256).stat().st_blocks * 512)
        for sha256, ref in wanted.items()
    )
    folder = tmp_path / "partial"
    folder.mkdir()
    assert lacking_bytes(folder, wanted) == needed
    assert set(reserve_files(folder, wanted)) == set(wanted)
    assert lacking_bytes(folder, wanted) == 0, "reserved once"
    first, *others = sorted(wanted)
    for sha256 in others:
        (folder / sha256).unlink()
    calls = []

    def full(*_arguments: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        reserve_files(folder, {sha256: wanted[sha256] for sha256 in [first, *others]})
    assert [path.name for path in folder.iterdir()] == [first], "what had arrived stays"


def test_a_download_that_cannot_fit_takes_nothing_away(rig: Rig) -> None:
    with pytest.raises(DiskFullError):
        Room(rig.store.partial / "line", rig.store, rig.bundles, Needs(), 0).require(10**18, set())
    assert rig.bundles.digests() == [rig.digest]
