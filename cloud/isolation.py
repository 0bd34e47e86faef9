"""`python -m cloud.isolation SCRATCH PROGRAM [ARGUMENT…]`: a program that opens hostile files.

It becomes PROGRAM without a network, without capabilities, with bounded memory, time and
files, with hardly any environment and with SCRATCH as its home. Chained after `cloud.leash`.
What it keeps is the user's rights on the machine's files: it is a fence around a parser that
is meant to refuse, not a cell for a program that is meant to run.

Without namespaces there is no fence, and then PROGRAM does not start: exit status NO_FENCE.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

NO_FENCE = 91

MEMORY_BYTES = 12 * 1024**3
CPU_S = 300
FILE_BYTES = 4 * 1024**3
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522


def command(scratch: Path, program: list[str]) -> list[str]:
    """The argument list that starts `program` behind the fence."""
    return [sys.executable, "-m", "cloud.isolation", str(scratch), *program]


def main(arguments: list[str]) -> None:
    scratch, *program = arguments
    if sys.platform != "linux":
        _refuse("this system has no namespaces")
    libc = ctypes.CDLL(None, use_errno=True)
    # Once more after the leash: what changes a process's rights may clear its request.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _leave_network(libc)
    _drop_capabilities(libc)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        _refuse("the kernel does not forbid new privileges")
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(limit, most)
    os.execvpe(program[0], program, environment(Path(scratch)))  # noqa: S606 - the caller's


def environment(scratch: Path) -> dict[str, str]:
    """What the program may know of its surroundings."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {
        **kept,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "YOLO_CONFIG_DIR": str(scratch),
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "OMP_NUM_THREADS": "1",
    }


def _leave_network(libc: ctypes.CDLL) -> None:
    """Into a network namespace of its own, where even the loopback is down.

    The user namespace belongs to it: without one, root could go back into the first network.
    """
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path(f"/proc/self/{name}").write_text(text)
        return
    # Containers often forbid user namespaces and leave root the network's. Without its
    # capabilities, which go next, it cannot come back.
    if libc.unshare(_CLONE_NEWNET) != 0:
        _refuse(os.strerror(ctypes.get_errno()))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if libc.capset(header, none) != 0:
        _refuse("its capabilities cannot be dropped")


def _lower(limit: int, most: int) -> None:
    hard = resource.getrlimit(limit)[1]
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (allowed, allowed))


def _refuse(why: str) -> None:
    sys.stderr.write(f"no isolation: {why}\n")
    sys.exit(NO_FENCE)


if __name__ == "__main__":
    main(sys.argv[1:])
