"""Check: the clock is right, because samples and windows are placed by it.

The kernel knows whether a time service disciplines it; no service's name is needed.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator

from edge_agent.doctor.finding import Box, Finding, advice, ok

STA_UNSYNC = 0x0040
TIMEX_BYTES = 512


def check(_box: Box) -> Iterator[Finding]:
    yield judge(_synchronised())


def judge(synchronised: bool | None) -> Finding:
    """`synchronised`: as the kernel says; None where it does not."""
    if synchronised is None:
        return advice(
            "whether the clock is synchronised is unknown",
            "compare `date -u` with another clock; containers do not tell",
        )
    if not synchronised:
        return advice(
            "the clock is not synchronised",
            "install a time service: apt install systemd-timesyncd (or chrony)",
        )
    return ok("the clock is synchronised")


class _Timex(ctypes.Structure):
    """The beginning of struct timex; the rest is room for the kernel to write into."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * TIMEX_BYTES),
    )


def _synchronised() -> bool | None:
    """Asked without any mode, adjtimex only reads."""
    found = _Timex()
    try:
        library = ctypes.CDLL(None, use_errno=True)
        answer = library.adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        return None
    if answer == -1 or ctypes.get_errno() == errno.ENOSYS:
        return None
    return not found.status & STA_UNSYNC
