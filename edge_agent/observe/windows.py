"""The sink that counts: statistics per camera and build over windows of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.ledger import Account, Ledger
from edge_agent.observe.counting import WindowCounts
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
    """The open window of one camera."""

    slot: str
    digest: str
    classes: int
    start_s: float
    counts: WindowCounts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = WindowCounts(self.classes)


class WindowSink:
    """Sink `statistics`: a window ends when its time is over or another bundle answers.

    Windows of a camera follow each other without a gap from its first result on, and the
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
        self._told: dict[str, Account] = {}
        self._last_s: dict[str, float] = {}
        self._now_s = 0.0

    def set_window_s(self, window_s: float) -> None:
        """Length of the windows from now on, those that are open included."""
        self._window_s = window_s

    def take(self, result: FrameResult) -> None:
        self._now_s = result.result_at
        counts = self._window(result).counts
        counts.add(result)
        last_s = self._last_s.get(result.camera)
        if last_s is not None:
            counts.gap_ms.add((result.result_monotonic - last_s) * 1000)
        self._last_s[result.camera] = result.result_monotonic
        if counts.inferred % QUALITY_EVERY_FRAMES == 1:
            counts.add_quality(*luminance_and_sharpness(result.inner))

    def tick(self, now_s: float) -> None:
        self._now_s = now_s
        self._watch_machine(now_s)
        for camera, window in list(self._open.items()):
            # A wall clock that was set back ends the window as well, or it might never end.
            if not 0 <= now_s - window.start_s < self._window_s:
                self._cut(camera, now_s)
                self._begin(camera, window.slot, window.digest, window.classes, now_s)

    def close(self) -> None:
        for camera in list(self._open):
            self._cut(camera, self._now_s)

    def _watch_machine(self, now_s: float) -> None:
        """Count the machine's reading into every open window, every few seconds."""
        if not self._open or 0 < self._machine_due_s - now_s <= MACHINE_EVERY_S:
            return
        self._machine_due_s = now_s + MACHINE_EVERY_S
        reading = self._read_machine()
        for window in self._open.values():
            window.counts.add_machine(reading)

    def _window(self, result: FrameResult) -> _Window:
        window = self._open.get(result.camera)
        if window is not None and window.digest == result.bundle_digest:
            return window
        if window is not None:
            self._cut(result.camera, result.result_at)
        return self._begin(
            result.camera,
            result.slot,
            result.bundle_digest,
            len(result.manifest.class_names),
            result.result_at,
        )

    def _begin(self, camera: str, slot: str, digest: str, classes: int, at_s: float) -> _Window:
        window = self._open[camera] = _Window(slot, digest, classes, at_s)
        return window

    def _cut(self, camera: str, at_s: float) -> None:
        """End the camera's window and emit it, unless nothing happened in it."""
        window = self._open.pop(camera)
        now, told = self._ledger.account(camera), self._told.get(camera, Account())
        self._told[camera] = now
        dropped = {
            cause: frames - told.dropped.get(cause, 0)
            for cause, frames in now.dropped.items()
            if frames > told.dropped.get(cause, 0)
        }
        captured = now.captured - told.captured
        if captured or dropped or window.counts.inferred:
            stats = window.counts.stats(captured, dropped)
            end_s = max(window.start_s, at_s)
            self._emit(camera, window.slot, window.digest, window.start_s, end_s, stats)
