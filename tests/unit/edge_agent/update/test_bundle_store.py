"""Bundles on disk: whole or absent; damage is found; what is pinned stays."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from edge_agent.errors import BundleError
from edge_agent.store import ASSEMBLING
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.retention import Needs
from protocol.bundles import MANIFEST_PATH, MODEL_PATH, BundleFile, Manifest, canonical
from protocol.bundles import digest as bundle_digest
from protocol.errors import DigestError, ManifestError
from tests.fixtures.models import write_bundle


def pins(*digests: str) -> Needs:
    return Needs(frozenset(digests))


class Rig:
    """A store, and bundles made beside it whose model file is just bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, folder / "made"
        (folder / "bundles").mkdir()
        self.store = BundleStore(folder / "bundles", folder / "compiled")

    def make(self, version: int) -> tuple[str, Manifest]:
        return write_bundle(self.made / str(version), version=version, model_data=b"m" * version)

    def sources(self, version: int, manifest: Manifest) -> dict[str, Path]:
        root = self.made / str(version)
        return {entry.blob.sha256: root / entry.path for entry in manifest.files}

    def place(self, version: int) -> str:
        digest, manifest = self.make(version)
        manifest_bytes = (self.made / str(version) / MANIFEST_PATH).read_bytes()
        self.store.place(digest, manifest_bytes, self.sources(version, manifest))
        os.utime(self.store.path(digest), (version, version))
        return digest


def rot(path: Path) -> None:
    """Damage one file and not those that are linked to it."""
    path.unlink()
    path.write_bytes(b"bit rot")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_placed_bundle_is_held_and_whole(rig: Rig) -> None:
    digest = rig.place(1)
    assert rig.store.digests() == [digest]
    assert rig.store.verify(digest).version == 1
    assert not list(rig.store.path(digest).parent.glob(f"{ASSEMBLING}*"))


def test_a_lacking_or_wrong_file_leaves_nothing(rig: Rig) -> None:
    digest, manifest = rig.make(1)
    manifest_bytes = (rig.made / "1" / MANIFEST_PATH).read_bytes()
    sources = rig.sources(1, manifest)
    lacking = dict(list(sources.items())[1:])
    with pytest.raises(BundleError, match="neither fetched nor held"):
        rig.store.place(digest, manifest_bytes, lacking)
    next(iter(sources.values())).write_bytes(b"other")
    with pytest.raises(BundleError, match="fetched again"):
        rig.store.place(digest, manifest_bytes, sources)
    with pytest.raises(DigestError):
        rig.store.place("0" * 64, manifest_bytes, sources)
    assert list((rig.folder / "bundles").iterdir()) == []


@pytest.mark.parametrize("path", [MANIFEST_PATH, MODEL_PATH])
def test_no_file_of_another_bundle_is_written_through_its_link(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Also where a manifest that names a place twice were believed."""
    incumbent = rig.place(1)
    digest, manifest = rig.make(2)
    lent = manifest.file(MODEL_PATH), rig.store.manifest(incumbent).file(MODEL_PATH)
    twice = BundleFile(path=path, blob=lent[1]), BundleFile(path=MODEL_PATH, blob=lent[0])
    false = manifest.model_copy(update={"files": twice})
    sources = {**rig.sources(2, manifest), **rig.store.held_files({lent[1].sha256})}
    with pytest.raises(ManifestError, match="same path"):
        rig.store.place(bundle_digest(false), canonical(false), sources)
    monkeypatch.setattr("edge_agent.update.bundle_store.read_manifest", lambda *_: false)
    with pytest.raises(FileExistsError):
        rig.store.place(digest, b"{}", sources)
    monkeypatch.undo()
    assert rig.store.verify(incumbent).version == 1
    assert [p.name for p in (rig.folder / "bundles").iterdir()] == [incumbent]


def test_where_the_disk_knows_no_links_files_are_copied(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert rig.store.verify(rig.place(1)).version == 1


def test_damage_is_found_and_a_damaged_file_is_not_used_again(rig: Rig) -> None:
    digest = rig.place(1)
    manifest = rig.store.manifest(digest)
    wanted = {entry.blob.sha256 for entry in manifest.files}
    assert set(rig.store.held_files(wanted)) == wanted
    (rig.store.path(digest) / "golden/000.png").write_bytes(b"bit rot")
    with pytest.raises(BundleError, match=r"golden/000.png is damaged"):
        rig.store.verify(digest)
    damaged = manifest.file("golden/000.png").sha256
    assert set(rig.store.held_files(wanted)) == wanted - {damaged}


def test_a_half_written_bundle_is_not_held_and_is_replaced(rig: Rig) -> None:
    digest = rig.place(1)
    (rig.store.path(digest) / MANIFEST_PATH).unlink()
    assert not rig.store.has(digest)
    assert rig.place(1) == digest
    assert rig.store.verify(digest).version == 1


def test_a_damaged_bundle_is_repaired_by_its_damaged_file_alone(rig: Rig) -> None:
    digest = rig.place(1)
    manifest = rig.store.manifest(digest)
    manifest_bytes = (rig.store.path(digest) / MANIFEST_PATH).read_bytes()
    wanted = {entry.blob.sha256 for entry in manifest.files}
    rot(rig.store.path(digest) / "golden/000.png")
    rig.store.set_aside(digest)
    assert not rig.store.has(digest) and rig.store.digests() == []
    assert rig.store.damaged() == [digest]
    assert rig.store.damaged_manifest(digest) == manifest_bytes
    bad = manifest.file("golden/000.png").sha256
    held = rig.store.held_files(wanted)
    assert set(held) == wanted - {bad}
    fetched = rig.sources(1, manifest)[bad]
    rig.store.place(digest, manifest_bytes, {**held, bad: fetched})
    assert rig.store.verify(digest) == manifest
    assert rig.store.damaged() == []
    assert [p.name for p in (rig.folder / "bundles").iterdir()] == [digest]


def test_the_files_of_a_bundle_whose_manifest_rotted_are_used_again(rig: Rig) -> None:
    digest = rig.place(1)
    manifest = rig.store.manifest(digest)
    rot(rig.store.path(digest) / MANIFEST_PATH)
    rig.store.set_aside(digest)
    with pytest.raises(BundleError, match="cannot be read"):
        rig.store.damaged_manifest(digest)
    wanted = {entry.blob.sha256 for entry in manifest.files}
    assert set(rig.store.held_files(wanted)) == wanted


def test_a_damaged_bundle_that_nobody_needs_goes(rig: Rig) -> None:
    kept, gone = rig.place(1), rig.place(2)
    rig.store.set_aside(kept)
    rig.store.set_aside(gone)
    rig.store.prune(pins(kept), kept_max=5)
    assert rig.store.damaged() == [kept]
    rig.store.remove(kept)
    assert list((rig.folder / "bundles").iterdir()) == []


def test_a_bundle_that_is_whole_is_not_placed_again(rig: Rig) -> None:
    digest = rig.place(1)
    inode = (rig.store.path(digest) / MANIFEST_PATH).stat().st_ino
    manifest_bytes = (rig.store.path(digest) / MANIFEST_PATH).read_bytes()
    rig.store.place(digest, manifest_bytes, {})
    assert (rig.store.path(digest) / MANIFEST_PATH).stat().st_ino == inode


def test_room_is_made_of_loose_bundles_only(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [rig.place(version) for version in range(1, 5)]
    free = [100]
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(0, 0, free[0]))
    assert rig.store.make_room(100, pins(digests[0])) == []
    assert rig.store.make_room(101, pins(digests[0])) == [digests[1]]
    assert rig.store.make_room(10**9, pins(digests[0])) == [], "it would not help"
    assert rig.store.digests() == [digests[0], *digests[2:]]
    lender = {rig.store.manifest(digests[2]).files[0].blob.sha256}
    assert digests[2] in rig.store.lenders(lender)


def test_pruning_keeps_what_is_pinned_and_the_newest(rig: Rig) -> None:
    digests = [rig.place(version) for version in range(1, 6)]
    gone = rig.store.prune(pins(digests[0]), kept_max=1)
    assert gone == digests[1:4]
    assert set(rig.store.digests()) == {digests[0], digests[4]}


def test_what_was_compiled_goes_with_its_bundle(rig: Rig) -> None:
    kept, gone = rig.place(1), rig.place(2)
    for digest in (kept, gone):
        folder = rig.store.compiled(digest)
        assert folder is not None
        folder.mkdir(parents=True)
        (folder / "blob").write_bytes(b"compiled")
    assert rig.store.prune(pins(kept), 0) == [gone]
    assert [p.name for p in (rig.folder / "compiled").iterdir()] == [kept]
