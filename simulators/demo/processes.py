"""Child processes that end with us: each in a group of its own, watched, stopped in order.

A child is started through the hub's leash, so that even a demo that is killed outright
leaves nothing behind. The groups keep a terminal's Ctrl-C away from the children: the demo
alone hears it and stops them in order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STOP_GRACE_S = 15.0
TAIL_BYTES = 4096
_POLL_S = 0.05


class ProcessEnded(Exception):  # noqa: N818 - says what happened
    """A process that should run has ended, or one that should succeed has failed."""


@dataclass
class Process:
    """A running program of ours, with its log."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    ends: bool = False

    @property
    def pid(self) -> int:
        return self.popen.pid

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").splitlines()
        return "\n".join(lines[-12:])


class Supervisor:
    """Starts, watches and stops processes. Start from the main thread: they end with it."""

    def __init__(self, logs: Path, environment: Mapping[str, str] | None = None) -> None:
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self._environment = {**os.environ, **(environment or {})}
        self._running: dict[str, Process] = {}

    def start(self, name: str, module: str, *arguments: str, ends: bool = False) -> Process:
        """Start `python -m module arguments…`, its output in `<logs>/<name>.log`.

        `ends` says that it is to end by itself.
        """
        leash = [sys.executable, "-m", "cloud.leash", str(os.getpid()), "0"]
        log = self._logs / f"{name}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [*leash, sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        process = Process(name, popen, log, ends)
        self._running[name] = process
        return process

    def ended(self, name: str) -> bool:
        """Whether a process that is to end by itself has done so."""
        return self._running[name].popen.poll() is not None

    def finish(self, name: str, timeout_s: float) -> Path:
        """Wait until a process ends well; its log.

        Raises:
            ProcessEnded: it failed, or it took longer than `timeout_s` and was stopped.
        """
        process = self._running[name]
        try:
            status = process.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.stop(name, 1.0)
            raise ProcessEnded(
                f"{name} was stopped after {timeout_s:.0f} s:\n{process.tail()}"
            ) from None
        del self._running[name]
        if status != 0:
            raise ProcessEnded(f"{name} ended with status {status}:\n{process.tail()}")
        return process.log

    def check(self) -> None:
        """Return if all are running that should be.

        Raises:
            ProcessEnded: one is not; the text has the end of its log.
        """
        for process in self._running.values():
            if not process.ends and process.popen.poll() is not None:
                raise ProcessEnded(
                    f"{process.name} ended by itself with status {process.popen.returncode}; "
                    f"the end of {process.log}:\n{process.tail()}"
                )

    def stop(self, name: str, grace_s: float = STOP_GRACE_S) -> bool:
        """SIGTERM, then after `grace_s` SIGKILL, to the whole group; whether SIGTERM did."""
        process = self._running.pop(name)
        _signal_group(process, signal.SIGTERM)
        return _reap(process, time.monotonic() + grace_s)

    def stop_all(self, grace_s: float = STOP_GRACE_S) -> None:
        """Stop everything, the youngest first and all with one deadline."""
        processes = list(reversed(self._running.values()))
        self._running.clear()
        for process in processes:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for process in processes:
            _reap(process, deadline)


def _reap(process: Process, deadline: float) -> bool:
    while process.popen.poll() is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    obeyed = process.popen.poll() is not None
    # Also where the leader has ended: what it started may be left.
    _signal_group(process, signal.SIGKILL)
    process.popen.wait()
    return obeyed


def _signal_group(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
