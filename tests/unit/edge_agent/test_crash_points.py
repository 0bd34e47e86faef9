"""Killed, or without power, at every change on the disk: the old or the new, never half."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.store import StateFile, Store, fsync_directory, write_atomically
from edge_agent.update.bundle_store import BundleStore
from protocol.bundles import MANIFEST_PATH
from tests.fixtures.models import write_bundle
from tests.unit.edge_agent.dying_disk import dying

CHANGES_MAX = 200
powered = pytest.mark.parametrize("power", [False, True], ids=["kill", "power"])


class Note(StateFile):
    version: int = 1
    text: str


def deaths(
    folder: Path, action: Callable[[Path], object], begin: Callable[[Path], object], *, power: bool
) -> Iterator[tuple[Path, bool]]:
    """A folder for each change that the action dies at, and at last one where it ends."""
    for nth in range(1, CHANGES_MAX):
        place = folder / str(nth)
        place.mkdir()
        begin(place)
        with dying(folder / f"vault-{nth}", nth, power=power) as disk:
            action(place)
        ended = disk.changes < nth
        yield place, ended
        if ended:
            assert nth > 3, "the changes were not seen"
            return
    raise AssertionError("the action does not end")


@powered
def test_a_file_is_replaced_whole(tmp_path: Path, power: bool) -> None:
    old, new = b"old" * 1000, b"new" * 2000
    for place, ended in deaths(
        tmp_path,
        lambda p: write_atomically(p / "file", new),
        lambda p: (p / "file").write_bytes(old),
        power=power,
    ):
        assert (place / "file").read_bytes() in ((new,) if ended else (old, new))


def test_a_disk_that_syncs_nothing_is_noticed(tmp_path: Path) -> None:
    """The disk of these tests tears what is not synced, or they would prove nothing."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with dying(tmp_path / "vault", 0, power=True):
        descriptor = os.open(tmp_path / "new", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"newer!")
        os.close(descriptor)
        fsync_directory(tmp_path)
        (tmp_path / "new").replace(path)
    assert path.read_bytes() == b"old", "its new name was not synced"
    assert (tmp_path / "new").read_bytes() == b"new", "its bytes were not synced"


@powered
def test_a_state_is_the_old_or_the_new_and_nothing_is_left(tmp_path: Path, power: bool) -> None:
    def begin(place: Path) -> None:
        store = Store(place)
        store.open()
        store.save("note", Note(text="old"))
        store.close()

    for place, ended in deaths(
        tmp_path, lambda p: Store(p).save("note", Note(text="new")), begin, power=power
    ):
        store = Store(place)
        store.open()
        note = store.load("note", Note)
        assert note is not None and note.text in (("new",) if ended else ("old", "new"))
        assert store.leftovers() == []
        assert sorted(p.name for p in store.state.iterdir()) == [".reserve", "note.json"]
        store.close()


class Bundles:
    """Two versions that share files, made once; one is held."""

    def __init__(self, folder: Path) -> None:
        self.made = folder
        self.held, held = write_bundle(folder / "1", version=1, model_data=b"m" * 1000)
        self.wanted, self.manifest = write_bundle(folder / "2", version=2, model_data=b"n" * 1000)
        self._versions = {1: (self.held, held), 2: (self.wanted, self.manifest)}

    def place(self, store: BundleStore, version: int) -> None:
        root, (digest, manifest) = self.made / str(version), self._versions[version]
        sources = {entry.blob.sha256: root / entry.path for entry in manifest.files}
        store.place(digest, (root / MANIFEST_PATH).read_bytes(), sources)

    def fetch_and_place(self, place: Path) -> None:
        """As after a download: nothing of what was fetched was synced by itself."""
        sources = {}
        for entry in self.manifest.files:
            source = sources[entry.blob.sha256] = place / "partial" / entry.blob.sha256
            descriptor = os.open(source, os.O_WRONLY | os.O_CREAT)
            os.write(descriptor, (self.made / "2" / entry.path).read_bytes())
            os.close(descriptor)
        manifest_bytes = (self.made / "2" / MANIFEST_PATH).read_bytes()
        store_of(place).place(self.wanted, manifest_bytes, sources)

    def begin(self, place: Path) -> BundleStore:
        store = Store(place)
        store.open()
        store.close()
        bundles = BundleStore(store.bundles)
        self.place(bundles, 1)
        return bundles

    def check(self, place: Path) -> BundleStore:
        """After the next start: what counts as held is whole, and nothing else lies there."""
        store = Store(place)
        store.open()
        store.close()
        assert store.leftovers() == []
        bundles = BundleStore(store.bundles)
        for digest in bundles.digests():
            assert bundles.has(digest)
            bundles.verify(digest)
        return bundles


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("made"))


def store_of(place: Path) -> BundleStore:
    return BundleStore(place / "bundles")


@powered
def test_a_bundle_is_placed_whole_or_not_at_all(made: Bundles, tmp_path: Path, power: bool) -> None:
    for place, ended in deaths(tmp_path, made.fetch_and_place, made.begin, power=power):
        bundles = made.check(place)
        assert bundles.has(made.held), "the others stay"
        assert bundles.has(made.wanted) or not ended
        made.place(bundles, 2)
        bundles.verify(made.wanted)


@powered
def test_a_damaged_bundle_is_set_aside_and_repaired_or_set_aside_still(
    made: Bundles, tmp_path: Path, power: bool
) -> None:
    def begin(place: Path) -> None:
        bundles = made.begin(place)
        made.place(bundles, 2)
        golden = bundles.path(made.wanted) / "golden/000.png"
        golden.unlink()
        golden.write_bytes(b"rot")

    def repair(place: Path) -> None:
        bundles = store_of(place)
        bundles.set_aside(made.wanted)
        made.place(bundles, 2)

    wanted = {entry.blob.sha256 for entry in made.manifest.files}
    for place, ended in deaths(tmp_path, repair, begin, power=power):
        store = Store(place)
        store.open()
        store.close()
        bundles = BundleStore(store.bundles)
        bundles.verify(made.held)
        if ended:
            bundles.verify(made.wanted)
        assert len(bundles.held_files(wanted)) >= len(wanted) - 1, "the good files are kept"
        made.place(bundles, 2)
        bundles.verify(made.wanted)
        assert bundles.damaged() == [] and store.leftovers() == []


@powered
def test_a_bundle_is_removed_whole_or_not_at_all(
    made: Bundles, tmp_path: Path, power: bool
) -> None:
    for place, ended in deaths(
        tmp_path, lambda p: store_of(p).remove(made.held), made.begin, power=power
    ):
        bundles = made.check(place)
        assert not (ended and bundles.has(made.held))
