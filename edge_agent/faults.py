"""Named places at which a test makes this process fail; without a plan they do nothing.

    ARGOSY_FAULTS="update.PROVING.persisted=kill,store.write=full@2+,agent.start=clock:31536000"

A fault is `name=action[:seconds][@nth[+]]`: at the nth time that the process comes to the
point `name` (the first, where nothing is said), or from then on every time. `__main__` reads
the plan once; children of the agent have none.

    kill            SIGKILL to itself, as the power goes
    exit            ends at once with status 70, and nothing is closed
    error, full     raises OSError: EIO, ENOSPC
    stall:SECONDS   stays for a while
    clock:SECONDS   moves the clock on the wall, by a year at a time or back
"""

from __future__ import annotations

import errno
import math
import os
import re
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError

TEXT_MAX = 4096
SECONDS_MAX = 1e9
EXIT_STATUS = 70
ACTIONS = frozenset({"kill", "exit", "error", "full", "stall", "clock"})
TIMED = frozenset({"stall", "clock"})
NUMBERS = {"error": errno.EIO, "full": errno.ENOSPC}

_FAULT = re.compile(
    r"(?P<name>[A-Za-z0-9_.-]{1,64})=(?P<action>[a-z]{1,8})"
    r"(:(?P<seconds>[-+.0-9e]{1,16}))?(@(?P<nth>[0-9]{1,6})(?P<on>\+)?)?"
)

log = structlog.get_logger(__name__)


class FaultPlanError(EdgeError):
    """The text of ARGOSY_FAULTS is no plan; the message names the part and the form."""


@dataclass(frozen=True)
class Fault:
    """What happens at a point, from its `first` time to its `last` (None: for ever)."""

    name: str
    action: str
    seconds: float = 0.0
    first: int = 1
    last: int | None = 1


def parse(text: str) -> tuple[Fault, ...]:
    """The faults of a plan, in its order. Raises FaultPlanError."""
    if len(text) > TEXT_MAX:
        raise FaultPlanError(f"ARGOSY_FAULTS has {len(text)} characters; at most {TEXT_MAX}")
    return tuple(_fault(part.strip()) for part in text.split(",") if part.strip())


def _fault(part: str) -> Fault:
    found = _FAULT.fullmatch(part)
    if found is None:
        raise FaultPlanError(f"ARGOSY_FAULTS: {part!r} is not name=action[:seconds][@nth[+]]")
    action, first = found["action"], int(found["nth"] or 1)
    if action not in ACTIONS:
        raise FaultPlanError(f"ARGOSY_FAULTS: {action!r} is none of {', '.join(sorted(ACTIONS))}")
    if (found["seconds"] is not None) is not (action in TIMED):
        needs = "needs" if action in TIMED else "takes no"
        raise FaultPlanError(f"ARGOSY_FAULTS: {part!r}: {action} {needs} seconds")
    if first == 0:
        raise FaultPlanError(f"ARGOSY_FAULTS: {part!r}: times are counted from 1")
    return Fault(
        found["name"],
        action,
        _seconds(part, found["seconds"] or "0"),
        first,
        None if found["on"] else first,
    )


def _seconds(part: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not abs(seconds) <= SECONDS_MAX:
        raise FaultPlanError(f"ARGOSY_FAULTS: {part!r}: {text!r} is no number of seconds")
    return seconds


class Plan:
    """Faults, and how often each point was come to. Safe from any thread."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = faults
        self._lock = threading.Lock()
        self._met: Counter[str] = Counter()
        self.moved_s = 0.0

    def meet(self, name: str) -> None:
        """The process came to the point `name`. Raises OSError where the plan says so."""
        with self._lock:
            self._met[name] += 1
            times = self._met[name]
        for fault in self._faults:
            last = math.inf if fault.last is None else fault.last
            if fault.name == name and fault.first <= times <= last:
                log.warning("fault", point=name, action=fault.action, times=times)
                self._do(fault)

    def _do(self, fault: Fault) -> None:
        if fault.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.action == "exit":
            os._exit(EXIT_STATUS)
        elif fault.action == "stall":
            time.sleep(max(0.0, fault.seconds))
        elif fault.action == "clock":
            with self._lock:
                self.moved_s += fault.seconds
        else:
            number = NUMBERS[fault.action]
            raise OSError(number, f"{os.strerror(number)} (made at {fault.name})")


_plan: Plan | None = None


def install(text: str) -> None:
    """Follow the plan `text` from now on; an empty one takes the plan away.

    Raises:
        FaultPlanError: it is no plan; the one before stays.
    """
    global _plan  # noqa: PLW0603 - the points are all over the agent, and most runs have none
    faults = parse(text)
    _plan = Plan(faults) if faults else None
    if faults:
        log.warning("faults_installed", plan=text)


def point(name: str) -> None:
    """A place where a plan may let the process fail; without one nothing happens.

    Raises:
        OSError: the plan says so.
    """
    if _plan is not None:
        _plan.meet(name)


def clock() -> Clock:
    """The agent's clock; under a plan its wall moves where the plan says."""
    plan = _plan
    return Clock() if plan is None else Clock(wall=lambda: time.time() + plan.moved_s)
