"""The sink that counts: statistics per camera and build over windows of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.ledger import NOBODY, Ledger, Share
from edge_agent.observe.counting import ClassCounts, WindowCounts
from edge_agent.observe.quality import luminance_and_sharpness
from edge_agent.observe.reading import MachineReading
from edge_agent.results import FrameResult
from protocol.windows import WindowStats

EmitWindow = Callable[[str, str, str, float, float, WindowStats], None]
"""camera, slot, bundle digest, start and end (Unix seconds), statistics."""

ReadMachine = Callable[[], MachineReading]

QUALITY_EVERY_FRAMES = 4
MACHINE_EVERY_S = 5.0


@dataclass
class _Window:
    """A window of one camera; `end_s` counts once it has ended."""

    slot: str
    digest: str
    start_s: float
    end_s: float = 0.0
    captured: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    counts: WindowCounts = field(default_factory=lambda: WindowCounts(classes=0))

    def add(self, result: FrameResult) -> None:
        if not self.counts.inferred:
            # How many there are is known with the first answer, which may never come.
            self.counts.classes = ClassCounts(len(result.manifest.class_names))
        self.counts.add(result)

    def end(self, at_s: float) -> None:
        self.end_s = max(self.start_s, at_s)


class WindowSink:
    """Sink `statistics`: a window ends when its time is over or another bundle serves.

    What was captured and dropped is counted to the bundle that the ledger charges with it, and
    an answer to the bundle that gave it. So a bundle that never answers has windows too, and
    one that was exchanged may answer after its window's end: that window waits for the first
    answer of the next one, or for the next cut. While nothing serves the last bundle's window
    goes on.

    Windows of a camera follow each other without a gap from its first frame on, and the
    sum of all of them is what the ledger says of the camera. Luminance and sharpness are
    taken from the first of every four frames of a window, the machine is read every five
    seconds; the rest is counted on each frame.

    `set_window_s` may be called by any thread, the rest by the delivery's.
    """

    name = "statistics"

    def __init__(
        self,
        window_s: float,
        ledger: Ledger,
        emit: EmitWindow,
        read_machine: ReadMachine = MachineReading,
    ) -> None:
        self._window_s, self._ledger, self._emit = window_s, ledger, emit
        self._read_machine, self._machine_due_s = read_machine, 0.0
        self._open: dict[str, _Window] = {}
        self._left: dict[str, _Window] = {}
        self._counted: dict[tuple[str, str], Share] = {}
        self._last_s: dict[str, float] = {}
        self._now_s = 0.0

    def set_window_s(self, window_s: float) -> None:
        """Length of the windows from now on, those that are open included."""
        self._window_s = window_s

    def take(self, result: FrameResult) -> None:
        self._now_s = result.result_at
        window = self._answered(result)
        window.add(result)
        counts = window.counts
        last_s = self._last_s.get(result.camera)
        if last_s is not None:
            counts.gap_ms.add((result.result_monotonic - last_s) * 1000)
        self._last_s[result.camera] = result.result_monotonic
        if counts.inferred % QUALITY_EVERY_FRAMES == 1:
            counts.add_quality(*luminance_and_sharpness(result.inner))

    def tick(self, now_s: float) -> None:
        self._now_s = now_s
        for camera in self._ledger.cameras:
            self._count(camera)
        self._watch_machine(now_s)
        for camera, window in list(self._open.items()):
            # A wall clock that was set back ends the window as well, or it might never end.
            if not 0 <= now_s - window.start_s < self._window_s:
                self._cut(camera)
                self._open[camera] = _Window(window.slot, window.digest, now_s)

    def close(self) -> None:
        for camera in self._ledger.cameras:
            self._count(camera)
            self._cut(camera)

    def _watch_machine(self, now_s: float) -> None:
        """Count the machine's reading into every open window, every few seconds."""
        if not self._open or 0 < self._machine_due_s - now_s <= MACHINE_EVERY_S:
            return
        self._machine_due_s = now_s + MACHINE_EVERY_S
        reading = self._read_machine()
        for window in self._open.values():
            window.counts.add_machine(reading)

    def _answered(self, result: FrameResult) -> _Window:
        """The window of the bundle that answered; the one before it waits no longer then, as
        answers come in the order of their frames."""
        camera = result.camera
        window = self._open.get(camera)
        if window is None or window.digest != result.bundle_digest or camera in self._left:
            self._count(camera)
            window = self._window(camera, result.slot, result.bundle_digest, late=True)
            if window is self._open[camera]:
                self._emit_left(camera)
        return window

    def _count(self, camera: str) -> None:
        """Share out what the ledger counted since the last time."""
        for share in self._ledger.shares(camera):
            captured, dropped = share.since(self._counted.get((camera, share.digest)))
            if not captured and not dropped:
                continue
            if share.digest != NOBODY:
                window = self._window(camera, share.slot, share.digest, late=not share.serves)
            elif camera in self._open:
                window = self._open[camera]
            else:
                continue
            window.captured += captured
            window.dropped.update(dropped)
            self._counted[camera, share.digest] = share

    def _window(self, camera: str, slot: str, digest: str, *, late: bool) -> _Window:
        """The open window where it is the bundle's; where `late` the one that was left; else a
        new one, which leaves the open one."""
        window, left = self._open.get(camera), self._left.get(camera)
        if window is not None and window.digest == digest:
            return window
        if late and left is not None and left.digest == digest:
            return left
        if window is not None:
            self._emit_left(camera)
            window.end(self._now_s)
            self._left[camera] = window
        window = self._open[camera] = _Window(slot, digest, self._now_s)
        return window

    def _cut(self, camera: str) -> None:
        """End the camera's windows."""
        self._emit_left(camera)
        window = self._open.pop(camera, None)
        if window is not None:
            window.end(self._now_s)
            self._emit_window(camera, window)

    def _emit_left(self, camera: str) -> None:
        left = self._left.pop(camera, None)
        if left is not None:
            self._emit_window(camera, left)

    def _emit_window(self, camera: str, window: _Window) -> None:
        """Emit it, unless nothing happened in it."""
        if window.captured or window.dropped or window.counts.inferred:
            stats = window.counts.stats(window.captured, dict(window.dropped))
            self._emit(camera, window.slot, window.digest, window.start_s, window.end_s, stats)
