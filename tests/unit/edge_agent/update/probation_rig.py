"""Lines whose cameras and models behave as they are told, and what probation says of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from edge_agent.config import Limits
from edge_agent.observe.service import Answer, ServiceFigures, ServiceTally
from edge_agent.update.probation import Silence, SlotHealth, judge_probation
from edge_agent.update.states import Outcome
from protocol.states import ExecutionEvent

LIMITS = Limits()
BACK = ExecutionEvent.ROLLBACK_STARTED
NONE = ServiceFigures()
FPS = 30.0


@dataclass(frozen=True)
class World:
    """What cameras and a model do: one model's answers differ from another's by a field.

    Attributes:
        arrives, leaves: per frame and camera, of an object.
        bursts: how probable it is, per frame, that another process takes the machine.
        ghosts: detections in each frame where nothing is.
    """

    fps: float = FPS
    cameras: int = 2
    arrives: float = 0.1
    leaves: float = 0.04
    confidence: float = 0.8
    detections: float = 1.0
    latency_ms: float = 20.0
    bursts: float = 0.005
    ghosts: int = 0


@dataclass
class Line:
    """A running world; it goes on while one model takes the other's place."""

    world: World
    rng: random.Random
    at_s: float = 0.0
    burst: int = 0
    objects: dict[int, list[float]] = field(default_factory=dict)

    def run(self, tally: ServiceTally, frames: int) -> None:
        for number in range(frames):
            tally.add(self._answer(number % self.world.cameras))

    def _answer(self, camera: int) -> Answer:
        world, rng = self.world, self.rng
        there = self.objects.setdefault(camera, [])
        if there and rng.random() < world.leaves:
            there.clear()
        elif not there and rng.random() < world.arrives:
            there.extend(rng.gauss(1.0, 0.12) for _ in range(rng.randint(1, 3)))
        self.burst = max(0, self.burst - 1)
        if rng.random() < world.bursts:
            self.burst = 20
        self.at_s += max(0.0, rng.gauss(1.0, 0.2)) / world.fps
        seen = [
            min(1.0, world.confidence * how * rng.gauss(1.0, 0.03))
            for how in there
            for _ in range(int(world.detections + rng.random()))
        ]
        seen += [0.5] * world.ghosts
        latency_ms = world.latency_ms * rng.lognormvariate(0.0, 0.15) * (3 if self.burst else 1)
        return Answer(str(camera), self.at_s, latency_ms, len(seen), sum(seen))


def verdict_after(
    seed: int,
    good: World,
    other: World,
    *,
    before: int = 2000,
    frames: int = 600,
    every: int = 10,
    overtaken: float = 0.0,
) -> tuple[Outcome | None, int]:
    """The outcome that ends a probation of `frames` frames, and after how many it came."""
    line = Line(good, random.Random(seed))
    tally, candidate = ServiceTally(), ServiceTally()
    line.run(tally, before)
    baseline, started_s = tally.figures(), line.at_s
    line.world = other
    probation_s = frames / FPS
    for answered in range(every, 100 * frames, every):
        line.run(candidate, every)
        seen = SlotHealth(int(answered * (1 + overtaken)), answered)
        elapsed_s = line.at_s - started_s
        outcome = judge_probation(
            seen, candidate.figures(), baseline, elapsed_s, probation_s, LIMITS
        )
        if outcome is not None:
            return outcome, answered
    return None, 0


def steady(
    frames: int,
    *,
    fps: float = FPS,
    served: int = 1,
    confidence: float = 0.8,
    latency_ms: float = 20.0,
) -> ServiceFigures:
    """Figures of one camera whose every frame is like the one before."""
    tally = ServiceTally()
    for number in range(frames):
        tally.add(Answer("cam", number / fps, latency_ms, served, served * confidence))
    return tally.figures()


def judged(
    candidate: ServiceFigures,
    baseline: ServiceFigures | None,
    seen: SlotHealth | None = None,
    *,
    elapsed_s: float = 10.0,
    probation_s: float = 10.0,
    silent_s: float = 0.0,
) -> Outcome | None:
    """`silent_s`: since when what came without an answer came; all of the time where none was
    given."""
    health = seen or SlotHealth(candidate.frames, candidate.frames)
    silent_s = silent_s if candidate.frames else elapsed_s
    silence = Silence(health.unanswered, silent_s) if silent_s else Silence()
    return judge_probation(
        health, candidate, baseline, elapsed_s, probation_s, LIMITS, silence=silence
    )
