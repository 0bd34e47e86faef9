"""Bundles on the device's disk: whole and verified, or not there.

    bundles/<digest>/manifest.json and the files that it lists

A bundle is put together in a folder beside it and renamed into place, so a kill leaves
either none of it or all. A file that another bundle already holds is linked, not fetched.
A damaged bundle is set aside as `.damaged-<digest>`: it is held no more, and its good files
are linked from there, so that only the bad ones are fetched again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import structlog

from edge_agent import faults
from edge_agent.errors import BundleError
from edge_agent.store import ASSEMBLING, REMOVING, file_sha256, fsync_directory, write_synced
from edge_agent.update.retention import Held, Needs, to_prune
from protocol.bundles import MANIFEST_BYTES_MAX, MANIFEST_PATH, Manifest, proves_only, read_manifest
from protocol.errors import ProtocolError

DAMAGED = ".damaged-"
ENGINES = "engines"

log = structlog.get_logger(__name__)


class BundleStore:
    """The bundles of one device, by digest.

    Args:
        compiled: folder for what runtimes compile of them; it goes with its bundle, and is
            made anew where it is gone. None keeps nothing.
    """

    def __init__(self, folder: Path, compiled: Path | None = None) -> None:
        self._folder, self._compiled = folder, compiled

    def path(self, digest: str) -> Path:
        """Where the bundle lies, or would."""
        return self._folder / digest

    def compiled(self, digest: str) -> Path | None:
        """Where runtimes keep what they compile of the bundle."""
        return None if self._compiled is None else self._compiled / digest

    @property
    def engines(self) -> Path:
        """Where the engines that the device builds of bundles are kept."""
        return (self._compiled or self._folder.parent / "compiled") / ENGINES

    def has(self, digest: str) -> bool:
        return (self.path(digest) / MANIFEST_PATH).is_file()

    def digests(self) -> list[str]:
        """The bundles held, the least recently placed first."""
        folders = [p for p in self._folder.iterdir() if not p.name.startswith(".") and p.is_dir()]
        return [p.name for p in sorted(folders, key=lambda p: p.stat().st_mtime_ns)]

    def held(self) -> list[Held]:
        """The bundles held with their files, the least recently placed first."""
        return [Held(digest, self._files(digest)) for digest in self.digests()]

    def verify(self, digest: str, *, to_serve: bool = False) -> Manifest:
        """Read every byte of the bundle and return its manifest.

        `to_serve`: only of what it serves with. Golden frames are shared by all versions of a
        model, and one bad sector in them must not take the sight of a line.

        Raises:
            BundleError: a file is absent or another than the manifest says.
        """
        return verify_folder(self.path(digest), digest, to_serve=to_serve)

    def set_aside(self, digest: str) -> None:
        """Hold a damaged bundle no more, and keep what is good of it for its repair."""
        aside = self._folder / f"{DAMAGED}{digest}"
        self._discard(aside)
        self._drop_compiled(digest)
        with contextlib.suppress(FileNotFoundError):
            self.path(digest).rename(aside)
        fsync_directory(self._folder)
        log.warning("bundle_damaged", bundle=digest, remedy="its bad files are fetched again")

    def damaged(self) -> list[str]:
        """The bundles that were set aside, and are not repaired yet."""
        aside = (path.name.removeprefix(DAMAGED) for path in self._folder.glob(f"{DAMAGED}*"))
        return sorted(digest for digest in aside if not self.has(digest))

    def damaged_manifest(self, digest: str) -> bytes:
        """The manifest of a bundle that was set aside, or is held with bad golden frames. Raises
        BundleError where it is bad too."""
        folder = self.path(digest) if self.has(digest) else self._folder / f"{DAMAGED}{digest}"
        return _read_manifest(folder / MANIFEST_PATH, digest)[1]

    def manifest(self, digest: str) -> Manifest:
        """The manifest of a bundle that is held. Raises BundleError where it is not whole."""
        return _read_manifest(self.path(digest) / MANIFEST_PATH, digest)[0]

    def name(self, digest: str) -> str:
        """What people call a bundle: model and version, where its manifest can be read."""
        try:
            manifest = self.manifest(digest)
        except BundleError:
            return digest[:12]
        return f"{manifest.model} v{manifest.version} ({digest[:12]})"

    def held_files(self, wanted: Collection[str]) -> dict[str, Path]:
        """Those of the wanted files (sha256) that some bundle holds undamaged."""
        held: dict[str, Path] = {}
        for sha256, path in self._candidates(wanted):
            if sha256 not in held and file_sha256(path) == sha256:
                held[sha256] = path
        for path in self._set_aside_files():
            if len(held) < len(wanted):
                sha256 = file_sha256(path) or ""
                if sha256 in wanted:
                    held.setdefault(sha256, path)
        return held

    def lenders(self, wanted: Collection[str]) -> set[str]:
        """The bundles that hold some of the wanted files: a download counts on them."""
        return {bundle.digest for bundle in self.held() if set(wanted) & set(bundle.files)}

    def place(self, digest: str, manifest_bytes: bytes, sources: Mapping[str, Path]) -> Manifest:
        """Put a bundle together from files by sha256, verify it, and make it held.

        One that is held whole stays as it is.

        Raises:
            BundleError: a file is lacking or is not what the manifest says.
            ProtocolError: the manifest is not the one that `digest` names.
            OSError: the disk refused; nothing is held then.
        """
        manifest = read_manifest(manifest_bytes, digest)
        if not self._is_whole(digest, manifest):
            self._put_together(digest, manifest, manifest_bytes, sources)
        self._discard(self._folder / f"{DAMAGED}{digest}")
        return manifest

    def remove(self, digest: str) -> None:
        """Forget a bundle, in one rename, so that no half of it counts as held."""
        self._discard(self.path(digest))
        self._discard(self._folder / f"{DAMAGED}{digest}")
        self._drop_compiled(digest)

    def prune(self, needed: Needs, kept_max: int) -> list[str]:
        """Remove what is not pinned, but for the `kept_max` of most worth; return what went."""
        for aside in self._folder.glob(f"{DAMAGED}*"):
            digest = aside.name.removeprefix(DAMAGED)
            if digest not in needed.pinned or self.has(digest):
                self._discard(aside)
        return self._remove_all(to_prune(self.held(), needed, kept_max))

    def make_room(self, needed_bytes: int, needed: Needs) -> list[str]:
        """Remove loose bundles until so many bytes are free, where that helps; what went."""
        lacking = needed_bytes - shutil.disk_usage(self._folder).free
        if lacking <= 0:
            return []
        held = self.held()
        return self._remove_all(to_prune(held, needed, len(held), lacking))

    def _put_together(
        self,
        digest: str,
        manifest: Manifest,
        manifest_bytes: bytes,
        sources: Mapping[str, Path],
    ) -> None:
        temporary = self._folder / f"{ASSEMBLING}{digest}"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            for entry in manifest.files:
                self._place_file(entry.blob.sha256, entry.path, temporary, sources)
            write_synced(temporary / MANIFEST_PATH, manifest_bytes, new=True)
            for folder in {p.parent for p in temporary.rglob("*")}:
                fsync_directory(folder)
            faults.point("bundles.place")
            if self.path(digest).exists():
                # Renamed and not removed: should a kill come between, its files are there.
                self._discard(self._folder / f"{DAMAGED}{digest}")
                self.path(digest).rename(self._folder / f"{DAMAGED}{digest}")
            temporary.rename(self.path(digest))
            fsync_directory(self._folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _remove_all(self, digests: list[str]) -> list[str]:
        for digest in digests:
            self.remove(digest)
            log.info("bundle_pruned", bundle=digest)
        return digests

    def _discard(self, folder: Path) -> None:
        """Take a folder away under a name that a start clears, should a kill come between."""
        if folder.exists():
            going = self._folder / f"{REMOVING}{folder.name.removeprefix('.')}"
            shutil.rmtree(going, ignore_errors=True)
            folder.rename(going)
            fsync_directory(self._folder)
            shutil.rmtree(going, ignore_errors=True)

    def _drop_compiled(self, digest: str) -> None:
        if self._compiled is not None:
            shutil.rmtree(self._compiled / digest, ignore_errors=True)

    def _is_whole(self, digest: str, manifest: Manifest) -> bool:
        return self.has(digest) and not any(_damaged(self.path(digest), manifest))

    def _files(self, digest: str) -> dict[str, int]:
        with contextlib.suppress(BundleError):
            return {f.blob.sha256: f.blob.size_bytes for f in self.manifest(digest).files}
        return {}

    def _candidates(self, wanted: Collection[str]) -> Iterator[tuple[str, Path]]:
        for digest in self.digests():
            with contextlib.suppress(BundleError):
                for entry in self.manifest(digest).files:
                    if entry.blob.sha256 in wanted:
                        yield entry.blob.sha256, self.path(digest) / entry.path

    def _set_aside_files(self) -> Iterator[Path]:
        """Files of damaged bundles; what they are, only their content says."""
        for folder in self._folder.glob(f"{DAMAGED}*"):
            yield from (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())

    def _place_file(
        self, sha256: str, path: str, folder: Path, sources: Mapping[str, Path]
    ) -> None:
        source = sources.get(sha256)
        if source is None:
            raise BundleError(f"{path} ({sha256[:12]}) is neither fetched nor held")
        if file_sha256(source) != sha256:
            raise BundleError(f"{path} is not {sha256[:12]}; it is fetched again")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            with source.open("rb") as read, target.open("xb") as written:
                shutil.copyfileobj(read, written)
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read_manifest(path: Path, digest: str) -> tuple[Manifest, bytes]:
    try:
        with path.open("rb") as file:
            raw = file.read(MANIFEST_BYTES_MAX + 1)
        return read_manifest(raw, digest), raw
    except (OSError, ProtocolError) as error:
        raise BundleError(f"bundle {digest[:12]} cannot be read: {error}") from error


def verify_folder(folder: Path, digest: str, *, to_serve: bool = False) -> Manifest:
    """As `BundleStore.verify`, of a bundle that lies anywhere."""
    manifest = _read_manifest(folder / MANIFEST_PATH, digest)[0]
    for path in _damaged(folder, manifest, to_serve=to_serve):
        raise BundleError(f"bundle {digest[:12]}: {path} is damaged or absent; it is fetched again")
    return manifest


def _damaged(folder: Path, manifest: Manifest, *, to_serve: bool = False) -> Iterator[str]:
    """Paths of files that are absent or are not what the manifest says."""
    for entry in manifest.files:
        if to_serve and proves_only(entry.path):
            continue
        if file_sha256(folder / entry.path) != entry.blob.sha256:
            yield entry.path
