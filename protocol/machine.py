"""The one way in which any state of Argosy moves.

A state machine is data: a table of (state, event) -> state, kept in a file named
`states.py` or in `protocol.states`. `advance` is the only reader. An illegal event
raises and leaves the state as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from protocol.errors import IllegalEvent

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)

Table = Mapping[tuple[S, E], S]


def advance(table: Mapping[tuple[S, E], S], state: S, event: E) -> S:
    """Return the state that follows `event` in `state`.

    Raises:
        IllegalEvent: the table has no such transition; the message lists what is legal.
    """
    try:
        return table[state, event]
    except KeyError:
        legal = sorted(str(e.value) for s, e in table if s is state) or ["nothing: it is terminal"]
        raise IllegalEvent(
            f"{type(state).__name__} {state.value} does not take {event.value}; "
            f"legal here: {', '.join(legal)}"
        ) from None


def terminal_states(table: Mapping[tuple[S, E], S]) -> frozenset[S]:
    """States that are reached by the table and left by no event of it."""
    return frozenset(table.values()) - {state for state, _ in table}


def mermaid(table: Mapping[tuple[S, E], S], initial: S) -> str:
    """A Mermaid state diagram of the table, for docs/; parallel edges are joined."""
    edges: dict[tuple[S, S], list[str]] = {}
    for (source, event), target in table.items():
        edges.setdefault((source, target), []).append(str(event.value))
    lines = ["stateDiagram-v2", f"    [*] --> {initial.value}"]
    lines += [
        f"    {source.value} --> {target.value}: {', '.join(events)}"
        for (source, target), events in edges.items()
    ]
    lines += [f"    {state.value} --> [*]" for state in sorted(terminal_states(table), key=str)]
    return "\n".join(lines)
