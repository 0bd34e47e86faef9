"""The items of a shelf, as a STOCK signal's body carries them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_agent.errors import OutputError
from edge_agent.outputs.signals import Signal


@dataclass(frozen=True)
class StockItem:
    """One class on one shelf; `count` is None where nothing can be said, which is not 0."""

    name: str
    count: int | None
    state: str


def stock_items(signal: Signal) -> tuple[StockItem, ...]:
    """The items of `body["items"]`. Raises OutputError where there are none of that form."""
    try:
        return tuple(_item(item) for item in signal.body["items"])
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"the stock of {signal.source} cannot be read ({type(error).__name__}: {error}); "
            "its body must list items with class, count and state"
        ) from error


def _item(item: dict[str, Any]) -> StockItem:
    count = item["count"]
    return StockItem(str(item["class"]), None if count is None else int(count), str(item["state"]))
