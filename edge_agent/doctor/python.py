"""Check: the interpreter is one that the agent supports."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

from edge_agent.doctor.finding import Box, Finding, ok, problem

OLDEST = (3, 10)


def check(_box: Box) -> Iterator[Finding]:
    yield judge(sys.version_info[:2], platform.python_version(), platform.machine())


def judge(version: tuple[int, int], text: str, architecture: str) -> Finding:
    seen = f"Python {text} on {architecture}"
    if version < OLDEST:
        return problem(seen, "the agent needs Python 3.10 or later; install it")
    return ok(seen)
