"""How many devices may be started now. Pure.

A rate is kept in any 60 s, and a sixth of it in any 10 s, so that a minute's devices are not all
under way before the first of them has said anything. A rate below one a minute is one device at
a time, as far apart as the rate says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cloud.rollouts.planning.views import PacePolicy

MINUTE_S = 60.0
BURST_S = 10.0
GROWTH_MAX = 1e9
"""Where a rate has grown by that, it holds nobody back."""


def memory_s(pace: PacePolicy | None) -> float:
    """How long ago a start may lie that still counts."""
    return 0.0 if pace is None else max(MINUTE_S, MINUTE_S / min(pace.base_per_minute, 1.0))


def rate_per_minute(pace: PacePolicy, succeeded: int) -> float:
    """The rate once `succeeded` devices have the build."""
    steps = succeeded // pace.after_succeeded
    if pace.factor > 1.0:
        steps = min(steps, math.ceil(math.log(GROWTH_MAX) / math.log(pace.factor)))
    rate = pace.base_per_minute * pace.factor**steps
    return rate if pace.per_minute_max is None else min(rate, pace.per_minute_max)


def allowance(rate: float, started: Sequence[float], now: float) -> int:
    """Devices that may be started now.

    Args:
        rate: devices a minute.
        started: when those were started that `memory_s` reaches back to, in any order.
    """
    if rate < 1.0:
        return 0 if any(now - at < MINUTE_S / rate for at in started) else 1
    limit = math.floor(rate)
    lately = sum(now - at < MINUTE_S for at in started)
    just_now = sum(now - at < BURST_S for at in started)
    burst = math.ceil(limit * BURST_S / MINUTE_S)
    return max(0, min(limit - lately, burst - just_now))
