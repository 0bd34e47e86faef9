"""Which rules hold, where a rule may be watched by more than one camera."""

from __future__ import annotations

from collections.abc import Iterable

from edge_agent.outputs.signals import Signal


class Levels:
    """A rule holds while it holds for any camera."""

    def __init__(self, states: Iterable[Signal] = ()) -> None:
        self._cameras: dict[str, set[str]] = {}
        for state in states:
            self.apply(state)

    def apply(self, signal: Signal) -> None:
        cameras = self._cameras.setdefault(signal.source, set())
        if signal.active:
            cameras.add(signal.camera)
        else:
            cameras.discard(signal.camera)

    def __getitem__(self, rule: str) -> bool:
        return bool(self._cameras.get(rule))
