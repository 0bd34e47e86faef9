"""Which of two rollouts has a slot that both want. Pure.

While both are open the higher priority has it, and of equal ones the newer. One that has ended
keeps its devices against nobody who comes later.
"""

from __future__ import annotations

from typing import Protocol

from cloud.rollouts.states import RolloutState

IDLE = frozenset(
    {
        RolloutState.CREATING.value,
        RolloutState.WAITING_FOR_APPROVAL.value,
        RolloutState.STOPPED.value,
    }
)
"""A rollout in one of these gives nothing to any device any more, or not yet."""


class Ranked(Protocol):
    """See `models.Rollout`."""

    @property
    def id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def created_at(self) -> float: ...
    @property
    def ended_at(self) -> float | None: ...


def outranks(other: Ranked, mine: Ranked) -> bool:
    """Whether `other` has the devices that both are meant for."""
    if other.id == mine.id or other.model != mine.model or other.state in IDLE:
        return False
    if other.ended_at is None and mine.ended_at is None:
        return (other.priority, other.created_at) > (mine.priority, mine.created_at)
    if other.created_at <= mine.created_at:
        return False
    # A lower one that began while `mine` was open got none of its devices.
    after_it = mine.ended_at is not None and other.created_at > mine.ended_at
    return after_it or other.priority >= mine.priority
