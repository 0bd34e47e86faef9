"""A disk on which the process dies before its nth change, by a kill or with the power.

A kill leaves all that was done. With the power goes what was not synced: bytes that no fsync
followed are torn, and names that no fsync of their folder followed are as they were before.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest


class Died(BaseException):
    """The process is gone; nothing of it is done any more, no clearing up either."""


@dataclass(frozen=True)
class Change:
    """A name that changed, how it would be as before, and where it was moved to."""

    path: Path
    undo: Callable[[Path], object]
    target: Path | None = None

    def moved(self, source: Path, target: Path) -> Change:
        """The same where a folder above has another name by now."""
        if not self.path.is_relative_to(source):
            return self
        return replace(self, path=target / self.path.relative_to(source))


class DyingDisk:
    """Stands in the way of `os`; `changes` counts what would have been done."""

    def __init__(self, patch: pytest.MonkeyPatch, vault: Path, nth: int) -> None:
        self._vault, self._nth = vault, nth
        self._real = {name: getattr(os, name) for name in _CHANGING}
        self._names: dict[int, Path] = {}
        self._torn: dict[int, set[Path]] = {}  # by inode, with all names that it had
        self._pending: list[Change] = []
        self.changes = 0
        accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.10 keeps functions there
        for name in _CHANGING:
            patch.setattr(os, name, getattr(self, f"_{name}"))
            if accessor is not None and name in ("replace", "rename", "mkdir", "unlink", "rmdir"):
                patch.setattr(accessor, name, staticmethod(getattr(self, f"_{name}")))

    def cut_power(self) -> None:
        """Lose what was not synced. Call it with `os` as it was."""
        for inode, names in self._torn.items():
            for path in names:
                if path.is_file() and path.stat().st_ino == inode:
                    os.truncate(path, path.stat().st_size // 2)
                    break
        for change in reversed(self._pending):
            with contextlib.suppress(OSError):  # what lay in a folder that is gone is gone
                change.undo(change.path)

    def _step(self) -> None:
        self.changes += 1
        if self._nth and self.changes >= self._nth:
            raise Died

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        full = self._full(path, dir_fd)
        creates = bool(flags & os.O_CREAT) and not full.exists()
        if creates or flags & os.O_TRUNC:
            self._step()
        descriptor: int = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        self._names[descriptor] = full
        if creates:
            self._changed(full, Path.unlink)
        return descriptor

    def _write(self, descriptor: int, data: Any) -> int:
        self._step()
        self._torn.setdefault(os.fstat(descriptor).st_ino, set()).add(self._names[descriptor])
        written: int = self._real["write"](descriptor, data)
        return written

    def _fsync(self, descriptor: int) -> None:
        self._step()
        self._real["fsync"](descriptor)
        name = self._names[descriptor]
        self._torn.pop(os.fstat(descriptor).st_ino, None)
        for change in [change for change in self._pending if change.path.parent == name]:
            self._pending.remove(change)
            if change.target is not None:  # what is pending within it, is so where it is now
                self._pending = [each.moved(change.path, change.target) for each in self._pending]

    def _replace(self, source: Any, target: Any) -> None:
        self._step()
        old, new = self._full(source), self._full(target)
        kept = self._keep(new)
        self._real["replace"](source, target)
        for names in self._torn.values():
            names |= {new / path.relative_to(old) for path in names if path.is_relative_to(old)}

        def undo(path: Path) -> None:
            new.replace(path)
            if kept is not None:
                kept.replace(new)

        self._changed(old, undo, new)

    _rename = _replace

    def _link(self, source: Any, target: Any) -> None:
        self._step()
        self._real["link"](source, target)
        full = self._full(target)
        self._torn.get(full.stat().st_ino, set()).add(full)
        self._changed(full, Path.unlink)

    def _mkdir(self, path: Any, mode: int = 0o777) -> None:
        if not Path(path).exists():
            self._step()
        self._real["mkdir"](path, mode)
        full = self._full(path)
        self._changed(full, shutil.rmtree)

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._step()
        full = self._full(path, dir_fd)
        kept = self._keep(full)
        self._real["unlink"](path, dir_fd=dir_fd)
        if kept is not None:
            self._changed(full, kept.replace)

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._step()
        full = self._full(path, dir_fd)
        self._real["rmdir"](path, dir_fd=dir_fd)
        self._changed(full, Path.mkdir)

    def _changed(
        self, path: Path, undo: Callable[[Path], object], target: Path | None = None
    ) -> None:
        self._pending.append(Change(path, undo, target))

    def _keep(self, path: Path) -> Path | None:
        """A second name for a file that is about to lose its own."""
        if not path.is_file():
            return None
        kept = self._vault / str(self.changes)
        self._real["link"](path, kept)
        return kept

    def _full(self, path: Any, dir_fd: int | None = None) -> Path:
        folder = Path() if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink()
        named: Path = folder / os.fspath(path)
        return named.absolute()


_CHANGING = ("open", "write", "fsync", "replace", "rename", "link", "mkdir", "unlink", "rmdir")


@contextlib.contextmanager
def dying(vault: Path, nth: int, *, power: bool) -> Iterator[DyingDisk]:
    """Within, the process dies before its nth change (0: never); after it, what is left lies there.

    The power is cut at the end in any case where `power` says so, after the last change too.
    """
    vault.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        disk = DyingDisk(patch, vault, nth)
        with contextlib.suppress(Died):
            yield disk
    if power:
        disk.cut_power()
