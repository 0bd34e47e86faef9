"""One camera's thread: opens the source, reads it into the feed, comes back after a loss."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from random import Random

import structlog

from edge_agent.backoff import backoff_s
from edge_agent.cameras.feed import Feed
from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener, OpenSource
from edge_agent.cameras.pixels import bgr, fingerprint, orient
from edge_agent.cameras.source import CameraSpec, Frame, Grab, Source, SourceKind
from edge_agent.cameras.watchdog import Picture, Watchdog
from edge_agent.clock import Clock
from edge_agent.errors import BadImageError, CameraError
from edge_agent.ledger import STALE, Ledger
from protocol.machine import advance
from protocol.messages import CameraReported, as_text
from protocol.states import CAMERA_TABLE, CameraEvent, CameraState

__all__ = ["Capture", "CaptureLimits", "OnCamera", "OpenSource"]

OnCamera = Callable[[str, CameraState, str], None]
"""Told of each change of a camera's state: camera, state, detail. Called by its thread."""

_log = structlog.get_logger(__name__)

_FPS_FRAMES = 30


class Capture:
    """Captures one camera in a thread of its own until its source ends or `stop`."""

    def __init__(
        self,
        spec: CameraSpec,
        feed: Feed,
        *,
        ledger: Ledger,
        clock: Clock,
        rng: Random,
        limits: CaptureLimits,
        on_camera: OnCamera | None = None,
        open_source: OpenSource | None = None,
    ) -> None:
        self.spec = spec
        self._open_source = open_source or Opener()
        self._feed, self._ledger = feed, ledger
        self._clock, self._rng, self._limits = clock, rng, limits
        self._on_camera = on_camera
        self._watchdog = Watchdog(spec.stale_after_s, spec.reopen_after_s)
        self._first_frame_s: float | None = None
        self._state, self._detail = CameraState.CONNECTING, ""
        self._size: tuple[int, int] | None = None
        self._times: deque[float] = deque(maxlen=_FPS_FRAMES)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture-{spec.id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    @property
    def ended(self) -> bool:
        return self._state is CameraState.ENDED

    def report(self) -> CameraReported:
        width, height = self._size or (None, None)
        return CameraReported(
            state=self._state,
            slot=self.spec.slot,
            width=width,
            height=height,
            fps=self._fps(),
            detail=self._detail,
        )

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._first_frame_s = None
            try:
                while self._pass():
                    pass
                return
            except CameraError as error:
                detail = str(error)
            except Exception as error:  # noqa: BLE001 - a defect must not leave a camera dark
                _log.exception("camera failed", camera=self.spec.id)
                detail = f"unexpected {type(error).__name__}: {error}"
            failures = 1 if self._was_stable() else failures + 1
            self._back_off(detail, failures)

    def _was_stable(self) -> bool:
        first_s = self._first_frame_s
        if first_s is None:
            return False
        return self._clock.monotonic() - first_s >= self._limits.stable_after_s

    def _pass(self) -> bool:
        """Read the source once from its beginning; whether to do so again."""
        connection = f"{self._rng.getrandbits(64):016x}"
        source = self._open_source(self.spec, connection, self._limits)
        self._watchdog.opened(self._clock.monotonic())
        try:
            if self._state is CameraState.CONNECTING:
                self._move(CameraEvent.OPENED, "")
            frames = self._read_all(source, connection)
        except CameraError as error:
            # Told before the source is closed, which may take as long as it likes.
            self._move(CameraEvent.LOST, str(error))
            raise
        finally:
            source.close()
        if self._stopping.is_set():
            return False
        if self.spec.loop:
            if not frames:
                why = f": {self._detail}" if self._detail else ""
                raise CameraError(f"{self.spec.name} holds no frame that can be read{why}")
            return True
        self._move(CameraEvent.SOURCE_ENDED, self._detail)
        return False

    def _read_all(self, source: Source, connection: str) -> int:
        """Frames captured until the source's end or `stop`. Raises CameraError on a loss."""
        pace = self._pace_fps(source)
        period_s = 1 / pace if pace else 0.0
        waits = self.spec.kind.is_stored
        due_s, frames = self._clock.monotonic(), 0
        while not self._stopping.is_set():
            if waits:
                self._stopping.wait(max(0.0, due_s - self._clock.monotonic()))
            # A live frame that is a little early is taken, or jitter would halve the rate.
            wanted = waits or self._clock.monotonic() >= due_s - period_s / 4
            try:
                grab = self._read(source, wanted)
                if grab is None:
                    break
                if wanted:
                    due_s = max(due_s + period_s, self._clock.monotonic() - period_s)
                    self._accept(grab, connection)
                    frames += 1
            except BadImageError as error:
                self._ledger.unreadable(self.spec.id)
                self._note(error)
                if not waits:
                    raise
        return frames

    def _read(self, source: Source, wanted: bool) -> Grab | None:
        """The source's next frame. Raises CameraError where a live one came too late.

        After a time-out FFmpeg gives the frames that its decoder has held back, one by one
        and each after another time-out; a camera that hangs must not be noticed that late.
        """
        began_s, limit_s = self._clock.monotonic(), self._limits.read_timeout_s
        grab = source.read(decode=wanted)
        if not self.spec.kind.is_stored and self._clock.monotonic() - began_s >= limit_s:
            raise CameraError(f"{self.spec.name} sent no frame for {limit_s:g} s")
        return grab

    def _accept(self, grab: Grab, connection: str) -> None:
        """Hand the frame on, as the camera is turned and cut; or count it where it is stale."""
        camera, now_s = self.spec.id, self._clock.monotonic()
        whole = bgr(grab.image, self._limits.images.pixels_max)
        if self._first_frame_s is None:
            self._first_frame_s = now_s
        self._times.append(now_s)
        if not self.spec.kind.is_stored:
            self._watch(self._watchdog.see(fingerprint(whole), grab.stream_ms, now_s))
        image = orient(whole, self.spec.rotate, self.spec.region)
        self._size = (image.shape[1], image.shape[0])
        if self._state is CameraState.STALE:
            self._ledger.captured(camera)
            self._ledger.dropped(camera, STALE)
            return
        frame = Frame(
            camera=camera,
            image=image,
            connection=connection,
            index=grab.index,
            captured_at=self._clock.wall(),
            captured_monotonic=now_s,
            file=grab.file,
        )
        self._feed.put(frame)

    def _watch(self, picture: Picture) -> None:
        if picture is Picture.REOPEN:
            raise CameraError(
                f"the picture has stood still for {self.spec.reopen_after_s:g} s; opening again"
            )
        if picture is Picture.FROZEN and self._state is CameraState.STREAMING:
            text = f"the picture has stood still for {self.spec.stale_after_s:g} s"
            self._move(CameraEvent.FROZEN, f"{text}; check the camera")
        elif picture is Picture.FRESH and self._state is CameraState.STALE:
            self._move(CameraEvent.FRAME, "")

    def _back_off(self, detail: str, failures: int) -> None:
        if self._state is not CameraState.BACKING_OFF:
            opening = self._state is CameraState.CONNECTING
            self._move(CameraEvent.OPEN_FAILED if opening else CameraEvent.LOST, detail)
        self._ledger.retried(self.spec.id)
        self._times.clear()
        limits = self._limits
        wait_s = backoff_s(failures, limits.backoff_base_s, limits.backoff_cap_s, self._rng)
        if not self._stopping.wait(wait_s):
            self._move(CameraEvent.RETRY, detail)

    def _move(self, event: CameraEvent, detail: str) -> None:
        self._state = advance(CAMERA_TABLE, self._state, event)
        self._note(detail)
        if self._on_camera is not None:
            self._on_camera(self.spec.id, self._state, self._detail)

    def _note(self, detail: object) -> None:
        """The one place where a detail is kept: names of files and words of libraries are in it."""
        self._detail = as_text(detail)

    def _pace_fps(self, source: Source) -> float | None:
        """Frames per second to keep to; a file that plays a live camera keeps its own."""
        if self.spec.fps_max is not None:
            return self.spec.fps_max
        plays_live = self.spec.is_live and self.spec.kind is SourceKind.FILE
        return source.fps if plays_live else None

    def _fps(self) -> float | None:
        times = list(self._times)
        if len(times) < 2 or times[-1] <= times[0]:
            return None
        return (len(times) - 1) / (times[-1] - times[0])
