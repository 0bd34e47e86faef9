"""What a slot's updater speaks to: its steps, and who hears of its attempts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_agent.dice import Dice
from edge_agent.update.states import Outcome, Step, UpdateRecord
from protocol.messages import ExecutionReport


class Steps(Protocol):
    """Carries out steps for one slot."""

    def begin(self, step: Step, record: UpdateRecord, token: int, now: float) -> Outcome | None:
        """Begin a step, or begin it again. Its outcome, or None where that comes later."""

    def tick(self, record: UpdateRecord, now: float, wall: float) -> Outcome | None:
        """Go on with the step that was begun; its outcome when it has one."""

    def cancel(self, *, overdue: bool = False) -> None:
        """Drop the step that was begun, with what it loaded; nothing of it comes any more.

        `overdue`: it should have ended long ago, and must not keep the next one waiting.
        """

    def retreat(self) -> None:
        """Serve the incumbent again at once, where it is still loaded."""

    def running_digest(self) -> str | None:
        """The bundle that the slot serves now."""


@dataclass(frozen=True)
class UpdaterPorts:
    """Who hears of a slot's attempts.

    Attributes:
        tell: keep a passage by its number for the hub; False where the disk refused.
        told: the number of the last passage that was kept.
        ended: an attempt is over, and is to be remembered; False where the disk refused.
        changed: what is reported of the attempt has changed.
        rests: what is committed ended the agent too often, and is not served for a while.
        passed_over: why a bundle did not serve at the start, in words; "" where nothing is known.
        rng: the jitter of retries.
    """

    tell: Callable[[int, ExecutionReport], bool]
    told: Callable[[], int]
    ended: Callable[[UpdateRecord], bool]
    changed: Callable[[], None]
    rests: Callable[[], bool]
    passed_over: Callable[[str], str]
    rng: Dice
