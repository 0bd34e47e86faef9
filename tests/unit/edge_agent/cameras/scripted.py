"""Live cameras that do what a test says, on a clock that only they move."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from edge_agent.cameras.capture import Capture
from edge_agent.cameras.feed import Feed
from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.source import CameraSpec, Frame, Grab, Image, Source, no_image
from edge_agent.clock import Clock
from edge_agent.errors import CameraError
from edge_agent.ledger import Account, Ledger
from protocol.states import CameraState
from tests.fixtures.seeing import eventually

SPEC = CameraSpec("a", "rtsp://scripted/line", "tiny", stale_after_s=10, reopen_after_s=60)
QUICK = CaptureLimits(backoff_base_s=0.001, backoff_cap_s=0.002, read_timeout_s=30)


@dataclass
class Time:
    """Monotonic time that stands still until it is moved."""

    now_s: float = 1000.0

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now_s, monotonic=lambda: self.now_s)


@dataclass(frozen=True)
class Shot:
    """One frame: its picture, the stream's clock, and the seconds until it comes."""

    image: Image
    stream_ms: float | None = None
    after_s: float = 1.0


@dataclass
class Scripted:
    """Each opening plays the next of `scripts`; an error in its place is raised."""

    scripts: Sequence[Sequence[Shot] | Exception]
    time: Time = field(default_factory=Time)
    openings: int = 0
    closed: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def open(self, _spec: CameraSpec, _connection: str, _limits: CaptureLimits) -> Source:
        index = self.openings
        if index == len(self.scripts):
            self.over.set()
            raise CameraError("the scripts are over")
        if index > len(self.scripts):
            raise CameraError("the scripts are over")
        self.openings += 1
        script = self.scripts[index]
        if isinstance(script, Exception):
            raise script
        return _Playing(self, list(script))


@dataclass
class _Playing:
    scripted: Scripted
    shots: list[Shot]
    fps: float | None = None
    next: int = 0

    def read(self, decode: bool = True) -> Grab | None:
        if self.next == len(self.shots):
            raise CameraError("the script ended")
        shot = self.shots[self.next]
        self.next += 1
        self.scripted.time.now_s += shot.after_s
        picture = shot.image if decode else no_image()
        return Grab(picture, self.next - 1, stream_ms=shot.stream_ms)

    def close(self) -> None:
        self.scripted.closed += 1


@dataclass
class Played:
    """What a capture made of its scripts."""

    frames: list[Frame]
    states: list[tuple[CameraState, str]]
    account: Account
    scripted: Scripted


class _KeepingFeed(Feed):
    """Keeps every frame, in order, and answers it at once."""

    def __init__(self, spec: CameraSpec, ledger: Ledger) -> None:
        super().__init__([spec], 4, ledger)
        self.kept: list[Frame] = []
        self._kept_by = ledger

    def put(self, frame: Frame) -> None:
        self._kept_by.captured(frame.camera)
        self._kept_by.inferred(frame.camera)
        self.kept.append(frame)


@contextlib.contextmanager
def running(
    scripted: Scripted, spec: CameraSpec = SPEC, limits: CaptureLimits = QUICK
) -> Iterator[tuple[Capture, Callable[[], Played]]]:
    """A capture of the scripts, and what it has made of them so far."""
    ledger = Ledger([spec.id])
    feed = _KeepingFeed(spec, ledger)
    states: list[tuple[CameraState, str]] = []
    capture = Capture(
        spec,
        feed,
        ledger=ledger,
        clock=scripted.time.clock(),
        rng=Random(7),
        limits=limits,
        on_camera=lambda _camera, state, detail: states.append((state, detail)),
        open_source=scripted.open,
    )
    capture.start()
    try:
        yield capture, lambda: Played(feed.kept, list(states), ledger.account(spec.id), scripted)
    finally:
        capture.stop()
        capture.join(10)


def play(
    *scripts: Sequence[Shot] | Exception, spec: CameraSpec = SPEC, limits: CaptureLimits = QUICK
) -> Played:
    """What a capture makes of the scripts, once they are over."""
    scripted = Scripted(scripts)
    with running(scripted, spec, limits) as (_, played):
        eventually(scripted.over.is_set, "the scripts are over")
        return played()


def live(**changes: object) -> CameraSpec:
    """SPEC with changes."""
    return replace(SPEC, **changes)  # type: ignore[arg-type]
