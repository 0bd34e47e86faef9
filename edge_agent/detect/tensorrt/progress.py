"""How far a build is, from the nested phases that TensorRT reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Phase:
    name: str
    steps: int
    done: int = 0


class ProgressShare:
    """A share from 0 to 1 that never falls.

    A phase's steps divide it evenly, and a phase inside another fills the step that the
    outer one is in. Phases may end before all their steps are done.
    """

    def __init__(self) -> None:
        self._open: list[_Phase] = []
        self.share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, within `parent` or on its own."""
        depth = next((i + 1 for i, p in enumerate(self._open) if p.name == parent), 0)
        del self._open[depth:]
        self._open.append(_Phase(name, max(steps, 1)))

    def step(self, name: str, step: int) -> None:
        """Step number `step`, from 0, of a phase is done; an unknown phase is ignored."""
        for index, phase in enumerate(self._open):
            if phase.name == name:
                phase.done = min(max(step + 1, 0), phase.steps)
                del self._open[index + 1 :]
                break
        self._advance()

    def finish(self, name: str) -> None:
        """A phase is over, with those inside it."""
        for index, phase in enumerate(self._open):
            if phase.name == name:
                phase.done = phase.steps
                del self._open[index + 1 :]
                self._advance()
                del self._open[index:]
                break

    def _advance(self) -> None:
        share, width = 0.0, 1.0
        for phase in self._open:
            share += width * phase.done / phase.steps
            width /= phase.steps
        self.share = max(self.share, min(share, 1.0))
