"""Child processes of the hub: own process group, low priority, dead when the hub dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 4096
LAST_LINES = 3


class ChildCanceled(Exception):  # noqa: N818 - an outcome that was asked for
    """The child was ended because somebody asked for it."""


class ChildFailed(Exception):  # noqa: N818 - says how it ended
    """The child ended by itself and not well.

    Attributes:
        status: its exit status, minus a signal's number where one ended it; None where it
            ended well and left something that cannot be used.
        last_lines: of its output, the end.
    """

    def __init__(
        self, message: str, *, status: int | None = None, last_lines: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.last_lines = status, tuple(last_lines)


@dataclass(frozen=True)
class ChildLimits:
    """How a child runs and how long its end may take."""

    nice: int = 10
    poll_s: float = 0.1
    terminate_grace_s: float = 3.0


def run_child(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    canceled: Callable[[], bool] = lambda: False,
    on_poll: Callable[[], None] = lambda: None,
    limits: ChildLimits | None = None,
) -> None:
    """Run `command` to its end, its output appended to `log`; call `on_poll` now and then.

    The calling thread must stay alive meanwhile: the child is tied to it.

    Raises:
        ChildCanceled: `canceled()` came true; the whole group is gone.
        ChildFailed: exit status other than 0, with the end of the output.
    """
    limits = limits or ChildLimits()
    leash = [sys.executable, "-m", "cloud.leash", str(os.getpid()), str(limits.nice)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*leash, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        while process.poll() is None:
            if canceled():
                raise ChildCanceled
            on_poll()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(limits.poll_s)
    finally:
        _end_group(process, limits.terminate_grace_s)
    on_poll()
    if process.returncode != 0:
        lines = _tail(log)
        words = " | ".join(lines[-LAST_LINES:]) or "none"
        raise ChildFailed(
            f"{_ended(process.returncode)}; its last words: {words}",
            status=process.returncode,
            last_lines=lines,
        )


def _end_group(process: subprocess.Popen[bytes], grace_s: float) -> None:
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    # Also where the leader ended by itself: what it started may be left.
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _ended(returncode: int) -> str:
    if returncode < 0:
        return f"it was ended by {signal.Signals(-returncode).name}"
    return f"it ended with status {returncode}"


def _tail(log: Path) -> list[str]:
    data = log.read_bytes()[-TAIL_BYTES:]
    return [line.strip() for line in data.decode(errors="replace").splitlines() if line.strip()]
