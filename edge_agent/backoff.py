"""How long to wait before trying again: capped exponential, full jitter, never terminal."""

from __future__ import annotations

from edge_agent.dice import Dice

_EXPONENT_MAX = 32


def backoff_s(attempt: int, base_s: float, cap_s: float, rng: Dice) -> float:
    """Seconds to wait before the try after `attempt` failures in a row (from 1).

    Uniform over (0, min(cap_s, base_s * 2^(attempt - 1))], so that a fleet that lost its
    peer together does not come back together. The caller resets `attempt` only after a
    stable uptime, not after a mere success: a peer that accepts and then drops would
    otherwise be hammered.
    """
    ceiling = min(cap_s, base_s * 2.0 ** min(max(attempt - 1, 0), _EXPONENT_MAX))
    return ceiling * (1.0 - rng.random())
