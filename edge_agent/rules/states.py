"""States of rules and shelves, and what moves them. Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeVar

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


def _each_leads_to(targets: Mapping[E, S], states: Iterable[S]) -> dict[tuple[S, E], S]:
    """The table in which an event leads to its one target from every other state."""
    return {
        (state, event): target
        for state in states
        for event, target in targets.items()
        if state is not target
    }


class RuleState(str, Enum):
    """Where a rule stands at one camera; UNKNOWN until its first frame."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    ACTIVE = "ACTIVE"
    UNBOUND = "UNBOUND"


class RuleEvent(str, Enum):
    FIRST_FRAME = "first_frame"
    FULFILLED = "fulfilled"
    ENDED = "ended"
    CLASSES_LOST = "classes_lost"
    CLASSES_FOUND = "classes_found"


RULE_TABLE: dict[tuple[RuleState, RuleEvent], RuleState] = {
    (RuleState.UNKNOWN, RuleEvent.FIRST_FRAME): RuleState.READY,
    (RuleState.UNKNOWN, RuleEvent.CLASSES_LOST): RuleState.UNBOUND,
    (RuleState.READY, RuleEvent.FULFILLED): RuleState.ACTIVE,
    (RuleState.ACTIVE, RuleEvent.ENDED): RuleState.READY,
    (RuleState.READY, RuleEvent.CLASSES_LOST): RuleState.UNBOUND,
    (RuleState.ACTIVE, RuleEvent.CLASSES_LOST): RuleState.UNBOUND,
    (RuleState.UNBOUND, RuleEvent.CLASSES_FOUND): RuleState.READY,
}


class StockState(str, Enum):
    """How much of an item a shelf holds; UNKNOWN where nothing can be said, which is not 0."""

    UNKNOWN = "UNKNOWN"
    IN_STOCK = "IN_STOCK"
    LOW_STOCK = "LOW_STOCK"
    OUT_OF_STOCK = "OUT_OF_STOCK"


class StockEvent(str, Enum):
    ENOUGH_SEEN = "enough_seen"
    FEW_SEEN = "few_seen"
    NONE_SEEN = "none_seen"
    SIGHT_LOST = "sight_lost"


STOCK_TABLE = _each_leads_to(
    {
        StockEvent.ENOUGH_SEEN: StockState.IN_STOCK,
        StockEvent.FEW_SEEN: StockState.LOW_STOCK,
        StockEvent.NONE_SEEN: StockState.OUT_OF_STOCK,
        StockEvent.SIGHT_LOST: StockState.UNKNOWN,
    },
    StockState,
)


class PlaceState(str, Enum):
    """Whether an item lies where it does not belong."""

    UNKNOWN = "UNKNOWN"
    CLEAR = "CLEAR"
    WRONG_PLACE = "WRONG_PLACE"


class PlaceEvent(str, Enum):
    SEEN = "seen"
    NOT_SEEN = "not_seen"
    SIGHT_LOST = "sight_lost"


PLACE_TABLE = _each_leads_to(
    {
        PlaceEvent.SEEN: PlaceState.WRONG_PLACE,
        PlaceEvent.NOT_SEEN: PlaceState.CLEAR,
        PlaceEvent.SIGHT_LOST: PlaceState.UNKNOWN,
    },
    PlaceState,
)
