"""Whether inference still moves. Pure: told of progress and of the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.errors import EdgeError

HOPELESS = 2.0
"""After how many times the patience a slot that is stuck does not come back by itself."""


class StuckError(EdgeError):
    """Inference hangs, in a runtime that nobody can take its thread from."""


@dataclass(frozen=True)
class SlotProgress:
    """How far a slot has come.

    Attributes:
        serves: whether it has a model.
        waiting: frames that were captured and are not accounted for.
        answered: frames that were inferred or failed since the start. What was superseded
            does not count: a camera does that while inference hangs.
    """

    serves: bool
    waiting: int
    answered: int


@dataclass
class Liveness:
    """A slot that has a model and frames, and answers none for `stuck_after_s`, is stuck.

    A camera that is offline leaves nothing waiting, so it never looks like that.
    """

    stuck_after_s: float
    _answered: dict[str, int] = field(default_factory=dict, init=False)
    _moved_s: dict[str, float] = field(default_factory=dict, init=False)

    def stuck(self, slots: Mapping[str, SlotProgress], now_s: float) -> tuple[str, ...]:
        """Take a look at `now_s` (monotonic); the slots that are stuck, by name."""
        for name, slot in slots.items():
            is_idle = not slot.serves or slot.waiting == 0
            if is_idle or self._answered.get(name) != slot.answered:
                self._moved_s[name] = now_s
            self._answered[name] = slot.answered
        return tuple(n for n in slots if now_s - self._moved_s[n] >= self.stuck_after_s)

    def give_up(self, now_s: float) -> None:
        """Raise StuckError where a slot has been stuck for so long that only a new process helps.

        An exchange does not: frames are answered in their order, and the thread that hangs holds
        the ones that came after.
        """
        for name, moved_s in self._moved_s.items():
            if now_s - moved_s >= HOPELESS * self.stuck_after_s:
                raise StuckError(
                    f"slot {name}: no frame was answered for {now_s - moved_s:.0f} s; the agent "
                    "ends, so that a new one takes its place"
                )
