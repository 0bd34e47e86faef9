"""Bundles on the device's disk: whole and verified, or not there.

    bundles/<digest>/manifest.json and the files that it lists

A bundle is put together in a folder beside it and renamed into place, so a kill leaves
either none of it or all. A file that another bundle already holds is linked, not fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import structlog

from edge_agent.errors import BundleError
from edge_agent.store import fsync_directory
from protocol.bundles import MANIFEST_BYTES_MAX, MANIFEST_PATH, Manifest, read_manifest
from protocol.errors import ProtocolError

ASSEMBLING = ".assembling-"
READ_BYTES = 1024 * 1024

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

    def has(self, digest: str) -> bool:
        return (self.path(digest) / MANIFEST_PATH).is_file()

    def digests(self) -> list[str]:
        """The bundles held, the least recently placed first."""
        folders = [p for p in self._folder.iterdir() if not p.name.startswith(".") and p.is_dir()]
        return [p.name for p in sorted(folders, key=lambda p: p.stat().st_mtime_ns)]

    def verify(self, digest: str) -> Manifest:
        """Read every byte of the bundle and return its manifest.

        Raises:
            BundleError: a file is absent or another than the manifest says.
        """
        folder = self.path(digest)
        manifest = self.manifest(digest)
        for entry in manifest.files:
            if _file_sha256(folder / entry.path) != entry.blob.sha256:
                raise BundleError(
                    f"bundle {digest[:12]}: {entry.path} is damaged or absent; it is fetched again"
                )
        return manifest

    def manifest(self, digest: str) -> Manifest:
        """The manifest of a bundle that is held. Raises BundleError where it is not whole."""
        try:
            with (self.path(digest) / MANIFEST_PATH).open("rb") as file:
                return read_manifest(file.read(MANIFEST_BYTES_MAX + 1), digest)
        except (OSError, ProtocolError) as error:
            raise BundleError(f"bundle {digest[:12]} cannot be read: {error}") from error

    def held_files(self, wanted: Collection[str]) -> dict[str, Path]:
        """Those of the wanted files (sha256) that some bundle holds undamaged."""
        held: dict[str, Path] = {}
        for digest in self.digests():
            with contextlib.suppress(BundleError):
                for entry in self.manifest(digest).files:
                    sha256, path = entry.blob.sha256, self.path(digest) / entry.path
                    if sha256 in wanted and sha256 not in held and _file_sha256(path) == sha256:
                        held[sha256] = path
        return held

    def place(self, digest: str, manifest_bytes: bytes, sources: Mapping[str, Path]) -> Manifest:
        """Put a bundle together from files by sha256, verify it, and make it held.

        Raises:
            BundleError: a file is lacking or is not what the manifest says.
            ProtocolError: the manifest is not the one that `digest` names.
            OSError: the disk refused; nothing is held then.
        """
        manifest = read_manifest(manifest_bytes, digest)
        temporary = self._folder / f"{ASSEMBLING}{digest}"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            for entry in manifest.files:
                self._place_file(entry.blob.sha256, entry.path, temporary, sources)
            _write(temporary / MANIFEST_PATH, manifest_bytes)
            for folder in {p.parent for p in temporary.rglob("*")}:
                fsync_directory(folder)
            self.remove(digest)
            temporary.rename(self.path(digest))
            fsync_directory(self._folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return manifest

    def remove(self, digest: str) -> None:
        """Forget a bundle; the manifest goes first, so that no half of it counts as held."""
        (self.path(digest) / MANIFEST_PATH).unlink(missing_ok=True)
        shutil.rmtree(self.path(digest), ignore_errors=True)
        if self._compiled is not None:
            shutil.rmtree(self._compiled / digest, ignore_errors=True)

    def prune(self, pinned: Collection[str], kept_max: int) -> list[str]:
        """Remove what is neither pinned nor among the `kept_max` newest; return what went."""
        for leftover in self._folder.glob(f"{ASSEMBLING}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        loose = [digest for digest in self.digests() if digest not in pinned]
        gone = loose[: max(0, len(loose) - kept_max)]
        for digest in gone:
            self.remove(digest)
            log.info("bundle_pruned", bundle=digest)
        return gone

    def _place_file(
        self, sha256: str, path: str, folder: Path, sources: Mapping[str, Path]
    ) -> None:
        source = sources.get(sha256)
        if source is None:
            raise BundleError(f"{path} ({sha256[:12]}) is neither fetched nor held")
        if _file_sha256(source) != sha256:
            raise BundleError(f"{path} is not {sha256[:12]}; it is fetched again")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _file_sha256(path: Path) -> str | None:
    """The file's sha256, None where it cannot be read."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                found.update(piece)
    except OSError:
        return None
    return found.hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
