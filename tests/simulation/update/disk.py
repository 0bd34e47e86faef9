"""The simulated device's disk: it can die at any change, refuse, and lose what was not synced."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.unit.edge_agent.dying_disk import Died, DyingDisk

__all__ = ["Died", "Disk"]


class Disk(DyingDisk):
    """Real files in the way of which this stands, for one life of a process.

    Attributes:
        refuses: the number (errno) of the error that each change meets, 0 for none.
    """

    def __init__(self, vault: Path) -> None:
        shutil.rmtree(vault, ignore_errors=True)
        vault.mkdir()
        self._patch = pytest.MonkeyPatch()
        super().__init__(self._patch, vault, 0)
        self.refuses = 0

    def die_after(self, changes: int) -> None:
        """The process dies before so many changes more are done."""
        self._nth = self.changes + max(1, changes)

    def spare(self) -> None:
        """Neither a death nor an error comes any more."""
        self._nth = self.refuses = 0

    def step(self) -> None:
        """Something else that a death may come before. Raises Died."""
        super()._step()

    def end(self, *, power_cut: bool) -> None:
        """The process is gone; with the power goes what was not synced."""
        self._patch.undo()
        if power_cut:
            self.cut_power()

    def _step(self) -> None:
        super()._step()
        if self.refuses:
            raise OSError(self.refuses, f"{os.strerror(self.refuses)} (simulated)")


FULL, BROKEN = errno.ENOSPC, errno.EIO
