"""The port of what carries signals to the line: one for each protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from edge_agent.errors import OutputError
from edge_agent.outputs.signals import Signal, SignalKind


class LineDownError(OutputError):
    """The other end cannot be reached now; what was to be written is tried again."""


class Writer(Protocol):
    """Writes signals to one other end. All calls come from the thread of its channel.

    Whatever raises LineDownError ends the connection: the channel closes it, waits and
    opens it again. Any other OutputError refuses one signal and the connection stays.
    Every call ends within the channel's `timeout_s`.

    Attributes:
        takes: kinds of signals that the other end is told.
        holds: of those, the kinds whose latest signal is a state at the other end. After an
            outage the latest of each source is written, not what happened in between.
        clears: whether `leave` takes the states back.
    """

    takes: frozenset[SignalKind]
    holds: frozenset[SignalKind]
    clears: bool = False

    def open(self, wake: Callable[[], None]) -> None:
        """Connect. `wake` may be called from any thread to have `tick` called soon."""

    def restore(self, states: Sequence[Signal]) -> None:
        """Bring the other end to these states: after every `open`, and after a backlog."""
        attempt_all(lambda state=state: self.write(state) for state in states)  # type: ignore[misc]

    def write(self, signal: Signal) -> None:
        """Tell the other end; return when it has taken it."""

    def tick(self) -> float | None:
        """Do what is due by itself; returns in how many seconds to be called again at the
        latest, None for never."""
        return None

    def leave(self) -> None:
        """Say goodbye on a connection that stands; `close` follows."""
        return

    def close(self) -> None:
        """Let go of the connection, also of a broken one."""


def attempt_all(actions: Iterable[Callable[[], None]]) -> None:
    """Do all of them: one that is refused does not keep the next from being done.

    Raises:
        LineDownError: at once.
        OutputError: naming every refusal, after the last action.
    """
    refusals = []
    for action in actions:
        try:
            action()
        except LineDownError:
            raise
        except OutputError as error:
            refusals.append(str(error))
    if refusals:
        raise OutputError("; ".join(refusals))


def body_json(signal: Signal) -> bytes:
    """A signal's body as compact JSON. Raises OutputError where JSON cannot carry it."""
    try:
        return json.dumps(signal.body, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise OutputError(
            f"the {signal.kind.value} signal of {signal.source} is no JSON: {error}"
        ) from error
