"""`python -m cloud.leash PARENT_PID NICE PROGRAM [ARGUMENT…]`: a program that dies with us.

Asks Linux to kill this process when the thread that started it ends, lowers its priority
and becomes PROGRAM. The request survives becoming another program, and asking here, in a
process of one thread, avoids running code between fork and exec in the hub.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent_pid, nice, *program = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent_pid):
        sys.exit("the parent is gone already")
    os.nice(int(nice))
    os.execvp(program[0], program)  # noqa: S606 - the caller's own argument list


if __name__ == "__main__":
    main(sys.argv[1:])
