"""What stands of a build: the evaluation's verdict, and what a person decided against it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

ADMITTED, REJECTED = "ADMITTED", "REJECTED"
BY_HAND = "by_hand"
"""In a verdict, beside what the evaluation found: the last decision of a person,
{"by", "at", "outcome", "reason"}."""


def decided(
    verdict: Mapping[str, Any], *, by: str, at: float, admitted: bool, reason: str
) -> dict[str, Any]:
    """The verdict with a person's decision, which takes the place of an earlier one. What the
    evaluation found stays."""
    outcome = ADMITTED if admitted else REJECTED
    return {**verdict, BY_HAND: {"by": by, "at": at, "outcome": outcome, "reason": reason}}


def outcome(state: str) -> str:
    """What a build's state says: ADMITTED or REJECTED, or REVOKED."""
    return ADMITTED if state == "EVALUATED" else state


def in_words(verdict: Mapping[str, Any], state: str = "") -> str:
    """What stands, and why, in a line; empty where nothing was recorded.

    A decision from before it was kept beside the verdict is found in `state`, which it moved.
    """
    evaluated = _evaluated(verdict)
    by_hand = verdict.get(BY_HAND)
    if by_hand:
        return f"{decision_in_words(by_hand)} (evaluation: {evaluated or 'none'})"
    stands = outcome(state)
    if evaluated and stands in (ADMITTED, REJECTED) and _word(verdict) != stands:
        return f"{stands} by hand, as `argosy audit` tells (evaluation: {evaluated})"
    return evaluated


def by_hand_in_words(verdict: Mapping[str, Any], state: str = "") -> list[str]:
    """What a person decided, as a list of at most one line; empty where the evaluation stands."""
    words = in_words(verdict, state)
    return [] if words == _evaluated(verdict) else [words]


def decision_in_words(by_hand: Mapping[str, Any]) -> str:
    """Who decided what, when and why."""
    return f"{by_hand['outcome']} by {by_hand['by']} on {_day(by_hand['at'])}: {by_hand['reason']}"


def _word(verdict: Mapping[str, Any]) -> str:
    return ADMITTED if verdict.get("admitted") else REJECTED


def _evaluated(verdict: Mapping[str, Any]) -> str:
    if "admitted" not in verdict:
        return ""
    reasons = "; ".join(map(str, verdict.get("reasons") or ()))
    return "admitted" if verdict["admitted"] else f"rejected: {reasons}"


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, tz=timezone.utc):%Y-%m-%d %H:%M} UTC"
