"""Work beside the inference that must not slow it: the calling thread at a low priority.

Loading and warming a candidate is a tenth of a second of computing. At the priority of the
inference threads it takes a core from them, and the line sees a gap. Ten steps below it gets a
tenth of a core that they fill, and all that they leave; at the very lowest it would get a
hundredth and take minutes, perhaps with a lock in hand that they wait for.

Linux gives each thread a priority of its own, and a thread hands its own on to those that it
starts: a runtime's pool would compute at that priority for ever. So what was started meanwhile
is raised again at the end, for which a process needs the right (root, or `LimitNICE` in its
systemd unit); without it nothing is lowered at all.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STEPS, LOWEST = 10, 19
TASKS = Path("/proc/self/task")


@contextmanager
def quiet() -> Iterator[bool]:
    """Run the block on this thread at a low priority; whether it was lowered.

    Threads that the block started, and that still live at its end, get the priority that
    this thread had before, as it does itself.
    """
    own = threading.get_native_id()
    usual = os.getpriority(os.PRIO_PROCESS, own)
    if usual >= LOWEST or not may_raise_to(usual):
        yield False
        return
    before = _threads()
    low = min(LOWEST, usual + STEPS)
    os.setpriority(os.PRIO_PROCESS, own, low)
    try:
        yield True
    finally:
        for thread in (_threads() - before) | {own}:
            # One that has ended meanwhile needs nothing.
            with suppress(ProcessLookupError):
                if os.getpriority(os.PRIO_PROCESS, thread) == low:
                    os.setpriority(os.PRIO_PROCESS, thread, usual)


def may_raise_to(nice: int) -> bool:
    """Whether a thread of this process may be brought back to `nice` from below."""
    ceiling, _ = resource.getrlimit(resource.RLIMIT_NICE)
    return os.geteuid() == 0 or ceiling == resource.RLIM_INFINITY or nice >= 20 - ceiling


def _threads() -> set[int]:
    """All threads of this process, by their number in the system."""
    try:
        return {int(entry.name) for entry in TASKS.iterdir()}
    except OSError:
        return set()
