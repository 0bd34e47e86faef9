"""Whether there is memory for one more model; judged before it is loaded.

A machine that runs out of memory kills the process that serves, so what is not there must be
known before. Within a container the group's limit is the machine.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Mapping
from pathlib import Path

MIB = 1024**2
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
# An address space is no larger than this; version 1 of cgroups says about so where it has no limit.
_UNLIMITED_BYTES = 2**60


def room_for(needed_bytes: float, available: int | None, kept_free: int) -> str:
    """ "" where `needed_bytes` fit and `kept_free` are left, else the reason in words.

    Unknown room is room: a device that cannot say is not held back for it.
    """
    if available is None or needed_bytes + kept_free <= available:
        return ""
    return (
        f"needs about {needed_bytes / MIB:.0f} MiB of memory and {available / MIB:.0f} MiB are "
        f"available, of which limits.memory_free_bytes_min keeps {kept_free / MIB:.0f} MiB free"
    )


def available_bytes() -> int | None:
    """Memory that a process could take now: the machine's or its control groups' room, the
    smaller; None where neither is known."""
    rooms = [_machine_room(_text(MEMINFO)), *_group_rooms(_text(OWN_CGROUP), CGROUP)]
    return min((room for room in rooms if room is not None), default=None)


def _machine_room(meminfo: str) -> int | None:
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            with contextlib.suppress(ValueError, IndexError):
                return int(line.split()[1]) * 1024
    return None


def _group_rooms(own: str, mount: Path) -> Iterator[int | None]:
    """The room of each group above this process that has a limit, of either version."""
    for line in own.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            root, names = mount, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = mount / "memory"
        else:
            continue
        folder = root / path.lstrip("/")
        if not folder.is_dir():  # a container sees its own group as the root
            folder = root
        while True:
            yield _group_room(folder, *names)
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent


def _group_room(folder: Path, limit: str, used: str, reclaimable: str) -> int | None:
    most, taken = _number(_text(folder / limit)), _number(_text(folder / used))
    if most is None or taken is None or most >= _UNLIMITED_BYTES:
        return None
    counters = _counters(_text(folder / "memory.stat"))
    return max(0, most - taken + min(taken, counters.get(reclaimable, 0)))


def give_back() -> bool:
    """Hand memory that was freed back to the system; whether the C library can.

    glibc keeps what a closed session held in the arenas of the threads that loaded it: half a
    megabyte more with each swap of a small model, and a hundred at any time. Takes some
    milliseconds.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library keeps its own house
        return False
    trim(0)
    return True


def _counters(text: str) -> Mapping[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdigit() else None


def _text(path: Path) -> str:
    try:
        with path.open() as file:
            return file.read(MIB)
    except (OSError, ValueError):
        return ""
