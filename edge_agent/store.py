"""The device's disk: one folder, one agent, every write whole or absent.

    data_dir/
      lock                 held by the one agent that uses the folder
      state/<name>.json    versioned state files (session, slots, updates)
      state/.reserve       room for a state that meets a full disk
      outbox/              the outbox's database and the images of its samples
      bundles/<digest>/    whole, verified bundles
      partial/<slot>/      what a download holds so far
      requests/            what a person at the device asks of a running agent

A state file of an unknown version, or one that cannot be read, counts as absent and is
reported: an agent that guesses what an old or a newer self meant cannot be trusted. What a
kill left half done has a temporary name, and goes at the next start.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from edge_agent import faults
from edge_agent.errors import EdgeError
from edge_agent.reserve import RESERVE_NAME, Reserve, is_full
from protocol.chunks import Sha256

STATE_BYTES_MAX = 1024 * 1024
READ_BYTES = 1024 * 1024
TEMPORARY = ".tmp"
ASSEMBLING, REMOVING = ".assembling-", ".removing-"
"""How a bundle's folder is called while it is put together, and while it is taken away."""

log = structlog.get_logger(__name__)


class StoreError(EdgeError):
    """The data folder cannot be used; the text names the path and the remedy."""


class DiskFullError(StoreError):
    """There is no room for what is about to be written; nothing has been written."""

    def __init__(self, folder: Path, needed_bytes: int, free_bytes: int) -> None:
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        super().__init__(
            f"disk full: {needed_bytes} bytes are needed under {folder} and {free_bytes} are "
            "free; make room there or give the device a larger disk"
        )


class StateFile(BaseModel):
    """A persisted state: each subclass sets the version that it writes and reads."""

    version: int


S = TypeVar("S", bound=StateFile)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: after a power cut it holds the old bytes or the new ones.

    Raises:
        OSError: the disk refused. `path` holds the old bytes; the new ones only where the
            folder alone could not be synced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        faults.point("store.write")
        write_synced(temporary, data)
        faults.point("store.written")
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    fsync_directory(path.parent)


def write_synced(path: Path, data: bytes, *, new: bool = False) -> None:
    """Write a file whose bytes, but not whose name, survive a power cut. Raises OSError.

    `new`: only where nothing lies there yet, which may be linked to something else.
    """
    how = os.O_EXCL if new else os.O_TRUNC
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> Sha256 | None:
    """The file's sha256, None where it cannot be read."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                found.update(piece)
    except OSError:
        return None
    return found.hexdigest()


def fsync_directory(folder: Path) -> None:
    """Make names created in or renamed within `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Store:
    """The folders of one data_dir and the state files in it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.state = data_dir / "state"
        self.outbox = data_dir / "outbox"
        self.bundles = data_dir / "bundles"
        self.compiled = data_dir / "compiled"
        self.partial = data_dir / "partial"
        self.reserve = Reserve(self.state / RESERVE_NAME)
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folders, take the lock and the reserve, and clear away what kills left.

        Raises:
            StoreError: they cannot be made, or another agent uses them.
        """
        try:
            self._make_folders()
            fsync_directory(self.data_dir.parent)
            self.data_dir.chmod(0o700)
            descriptor = os.open(self.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(
                f"cannot use the data folder {self.data_dir}: {error.strerror}; "
                "correct device.data_dir or its permissions"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreError(
                f"another agent (process {holder}) uses {self.data_dir}; stop it, or give "
                "this one another device.data_dir"
            ) from error
        with contextlib.suppress(OSError):  # who holds it is a courtesy; the disk may be full
            os.pwrite(descriptor, f"{os.getpid():<10}".encode(), 0)
        self._lock = descriptor
        for path in self.leftovers():
            _remove(path)
        self.reserve.take()

    def _make_folders(self) -> None:
        """Those that are not there. A power cut must not take them with what is synced in them.
        Raises OSError."""
        for folder in (self.state, self.outbox, self.bundles, self.partial):
            folder.mkdir(parents=True, exist_ok=True)
        fsync_directory(self.data_dir)

    def leftovers(self) -> list[Path]:
        """What has a temporary name: written at this moment, or left by a kill."""
        return sorted(self._temporary())

    def drop_partials(self, kept: Collection[str], *, hidden: bool = False) -> None:
        """Remove what was fetched for other slots than these; `hidden`: also for no slot."""
        for folder in self.partial.iterdir():
            if folder.name not in kept and (hidden or not folder.name.startswith(".")):
                _remove(folder)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self, name: str, model: type[S]) -> S | None:
        """The state `name`, or None where it is absent, unreadable or of another version."""
        path = self._path(name)
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                raw = file.read(STATE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("state_unreadable", path=str(path), error=str(error))
            return None
        current = model.model_fields["version"].default
        found = _version(raw)
        if found != current:
            log.warning("state_version_unknown", path=str(path), found=found, known=current)
            return None
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            log.warning("state_malformed", path=str(path), error=str(error.errors()[0]["msg"]))
            return None

    def save(self, name: str, state: StateFile) -> None:
        """Persist the state `name`, on a full disk with the room of the reserve.

        Raises:
            OSError: the disk refused.
        """
        data = state.model_dump_json().encode()
        if not self.state.is_dir():  # somebody took it away from under the agent
            self._make_folders()
        try:
            write_atomically(self._path(name), data)
        except OSError as error:
            if not (is_full(error) and self.reserve.give_up()):
                raise
            try:
                write_atomically(self._path(name), data)
            finally:
                self.reserve.settle()
        else:
            self.reserve.take()

    def remove(self, name: str) -> None:
        """Forget the state `name`; it may be absent."""
        self._path(name).unlink(missing_ok=True)
        fsync_directory(self.state)

    def free_bytes(self) -> int:
        """What is free on the disk of the data folder."""
        return shutil.disk_usage(self.data_dir).free

    def require_free(self, needed_bytes: int, kept_free_bytes: int) -> None:
        """Return if `needed_bytes` can be written and `kept_free_bytes` still stay free.

        Raises:
            DiskFullError: there is less room.
        """
        free_bytes = self.free_bytes()
        if needed_bytes + kept_free_bytes > free_bytes:
            raise DiskFullError(self.data_dir, needed_bytes + kept_free_bytes, free_bytes)

    def _path(self, name: str) -> Path:
        return self.state / f"{name}.json"

    def _temporary(self) -> Iterator[Path]:
        images, engines = self.outbox / "images", self.compiled / "engines"
        written = (self.state, images, self.data_dir / "requests", engines)
        for folder in (*written, *_folders(self.partial)):
            yield from folder.glob(f".*{TEMPORARY}")
        for prefix in (ASSEMBLING, REMOVING):
            yield from self.bundles.glob(f"{prefix}*")


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _remove(path: Path) -> None:
    """Best effort: what cannot be removed now is removed at the next start."""
    log.info("leftover_removed", path=str(path))
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _without_waiting(path: str, flags: int) -> int:
    """A pipe that lies there has no writer, and must not keep the agent from its start."""
    return os.open(path, flags | os.O_NONBLOCK)


def _version(raw: bytes) -> object:
    if len(raw) > STATE_BYTES_MAX:
        return None
    try:
        return json.loads(raw)["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
