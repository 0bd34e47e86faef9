"""One shelf, frame by frame: what changed on it, and what is on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_agent.results import FrameResult
from edge_agent.rules.binding import Binding, ClassNotice
from edge_agent.rules.selection import select
from edge_agent.rules.settings import ShelfSection
from edge_agent.rules.states import PlaceState, StockState
from edge_agent.rules.stock import (
    PLACE,
    STOCK,
    ClassCount,
    ItemCount,
    Span,
    StockChange,
    StrayCount,
)

Change = StockChange[StockState] | StockChange[PlaceState]


@dataclass(frozen=True)
class Held:
    """What a shelf holds of one class; `count` None where nothing can be said."""

    class_name: str
    state: StockState | PlaceState
    count: int | None


class ShelfWatch:
    """Counts the classes of one shelf. All times are monotonic.

    Args:
        now_s: from here on frames are waited for.
    """

    def __init__(self, section: ShelfSection, now_s: float) -> None:
        self.section = section
        names = (*section.items, *section.elsewhere)
        self._binding = Binding(section.id, section.camera, names)
        span = Span(section.smooth_s, section.frames_min)
        self._counts: dict[str, ItemCount | StrayCount] = {
            name: ClassCount(name, STOCK, (item.out, item.low), span)
            for name, item in section.items.items()
        }
        for name in section.elsewhere:
            self._counts[name] = ClassCount(name, PLACE, (0,), span)
        self._seen_s = now_s
        self._silent = False

    def held(self) -> tuple[Held, ...]:
        """Every class of the shelf, those that belong here first."""
        return tuple(Held(c.class_name, c.state, c.count) for c in self._counts.values())

    def silence(self, now_s: float) -> bool:
        """Whether no frame came for so long that nothing can be said any more; said once."""
        if self._silent or now_s - self._seen_s <= self.section.smooth_s:
            return False
        self._silent = True
        for count in self._counts.values():
            count.lose_sight()
        return True

    def observe(self, result: FrameResult) -> tuple[Change | ClassNotice, ...]:
        """What the frame changes."""
        now_s = result.result_monotonic
        self._seen_s, self._silent = now_s, False
        notices = self._binding.follow(result.bundle_digest, result.manifest.class_names)
        found = result.detections.class_ids[select(self.section, result, self._binding.ids)]
        changes = []
        for name, count in self._counts.items():
            if name in self._binding.lost:
                change = count.lose_sight()
            else:
                seen = int(np.isin(found, self._binding.ids_of(name)).sum())
                change = count.observe(seen, now_s)
            if change is not None:
                changes.append(change)
        return (*notices, *changes)
