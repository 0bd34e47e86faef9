"""Start a process for a test, also where the machine under it stumbles."""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Callable
from typing import IO

TRIES = 5
PAUSE_S = 0.2


def start_process(
    command: list[str],
    *,
    log: IO[bytes],
    cwd: str | None = None,
    env: dict[str, str] | None = None,
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
) -> subprocess.Popen[bytes]:
    """`Popen` with its output in `log`; tried again where `execve` answers EFAULT.

    On some virtual machines one start in thousands gets "Bad address" for a program that
    starts a moment later: the page that holds its arguments could not be brought in. Nothing
    has run by then, so that trying again is safe. Raises what the last try raised, and
    whatever is not EFAULT at once.
    """
    for _ in range(TRIES - 1):
        try:
            return popen(command, cwd=cwd, env=env, stdout=log, stderr=log)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            time.sleep(PAUSE_S)
    return popen(command, cwd=cwd, env=env, stdout=log, stderr=log)
