"""Bundles on disk: whole or absent; damage is found; what is pinned stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.errors import BundleError
from edge_agent.update.bundle_store import ASSEMBLING, BundleStore
from protocol.bundles import MANIFEST_PATH, Manifest
from protocol.errors import DigestError
from tests.fixtures.models import write_bundle


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


def test_a_half_written_bundle_is_not_held_and_is_cleared_away(rig: Rig) -> None:
    digest = rig.place(1)
    leftover = rig.folder / "bundles" / f"{ASSEMBLING}{digest}"
    leftover.mkdir()
    (rig.store.path(digest) / MANIFEST_PATH).unlink()
    assert not rig.store.has(digest)
    rig.store.prune({digest}, kept_max=5)
    assert not leftover.exists()


def test_pruning_keeps_what_is_pinned_and_the_newest(rig: Rig) -> None:
    digests = [rig.place(version) for version in range(1, 6)]
    gone = rig.store.prune({digests[0]}, kept_max=1)
    assert gone == digests[1:4]
    assert set(rig.store.digests()) == {digests[0], digests[4]}


def test_what_was_compiled_goes_with_its_bundle(rig: Rig) -> None:
    kept, gone = rig.place(1), rig.place(2)
    for digest in (kept, gone):
        folder = rig.store.compiled(digest)
        assert folder is not None
        folder.mkdir(parents=True)
        (folder / "blob").write_bytes(b"compiled")
    assert rig.store.prune({kept}, 0) == [gone]
    assert [p.name for p in (rig.folder / "compiled").iterdir()] == [kept]
