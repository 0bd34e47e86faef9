"""One camera's thread: opens the source, reads it into the feed, comes back after a loss."""

from __future__ import annotations

import threading
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import structlog

from edge_agent.backoff import backoff_s
from edge_agent.cameras.feed import Feed
from edge_agent.cameras.folder import FolderSource
from edge_agent.cameras.source import CameraSpec, Frame, Grab, Image, Source, SourceKind
from edge_agent.cameras.video import Timeouts, VideoSource
from edge_agent.cameras.watchdog import Picture, Watchdog
from edge_agent.clock import Clock
from edge_agent.errors import BadImageError, CameraError
from edge_agent.ledger import Ledger
from protocol.machine import advance
from protocol.messages import CameraReported
from protocol.states import CAMERA_TABLE, CameraEvent, CameraState

OpenSource = Callable[[CameraSpec, str, "CaptureLimits"], Source]
"""Opens a camera's source under a connection token. Raises CameraError."""

OnCamera = Callable[[str, CameraState, str], None]
"""Told of each change of a camera's state: camera, state, detail. Called by its thread."""

_log = structlog.get_logger(__name__)

_FPS_FRAMES = 30
_FINGERPRINT_STRIDE = 16


@dataclass(frozen=True)
class CaptureLimits:
    """Bounds of a camera's patience.

    Attributes:
        stale_after_s: a live picture that does not change for so long is reported as stale.
        reopen_after_s: and after so long the source is opened again.
        open_timeout_s, read_timeout_s: for network streams.
        backoff_base_s, backoff_cap_s: between tries to open a source.
        stable_after_s: uptime after which the count of failures starts anew.
    """

    stale_after_s: float = 10.0
    reopen_after_s: float = 120.0
    open_timeout_s: float = 5.0
    read_timeout_s: float = 5.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    stable_after_s: float = 30.0


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
        self._open_source = open_source or open_configured
        self._feed, self._ledger = feed, ledger
        self._clock, self._rng, self._limits = clock, rng, limits
        self._on_camera = on_camera
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
            opened_s = self._clock.monotonic()
            try:
                while self._pass():
                    pass
                return
            except CameraError as error:
                detail = str(error)
            except Exception as error:  # noqa: BLE001 - a defect must not leave a camera dark
                _log.exception("camera failed", camera=self.spec.id)
                detail = f"unexpected {type(error).__name__}: {error}"
            stable = self._clock.monotonic() - opened_s >= self._limits.stable_after_s
            failures = 1 if stable else failures + 1
            self._back_off(detail, failures)

    def _pass(self) -> bool:
        """Read the source once from its beginning; whether to do so again."""
        connection = f"{self._rng.getrandbits(64):016x}"
        source = self._open_source(self.spec, connection, self._limits)
        try:
            if self._state is CameraState.CONNECTING:
                self._move(CameraEvent.OPENED, "")
            frames = self._read_all(source, connection)
        finally:
            source.close()
        if self._stopping.is_set():
            return False
        if self.spec.loop:
            if not frames:
                raise CameraError(f"{self.spec.source} holds no frame that can be read")
            return True
        self._move(CameraEvent.SOURCE_ENDED, self._detail)
        return False

    def _read_all(self, source: Source, connection: str) -> int:
        """Frames captured until the source's end or `stop`. Raises CameraError on a loss."""
        limits = self._limits
        watchdog = Watchdog(limits.stale_after_s, limits.reopen_after_s)
        pace = self._pace_fps(source)
        period_s = 1 / pace if pace else 0.0
        waits = self.spec.kind in (SourceKind.FILE, SourceKind.FOLDER)
        due_s, frames = self._clock.monotonic(), 0
        while not self._stopping.is_set():
            if waits:
                self._stopping.wait(max(0.0, due_s - self._clock.monotonic()))
            # A live frame that is a little early is taken, or jitter would halve the rate.
            wanted = waits or self._clock.monotonic() >= due_s - period_s / 4
            try:
                grab = source.read(decode=wanted)
            except BadImageError as error:
                self._ledger.unreadable(self.spec.id)
                self._detail = str(error)
                continue
            if grab is None:
                break
            if wanted:
                due_s = max(due_s + period_s, self._clock.monotonic() - period_s)
                self._accept(grab, connection, None if waits else watchdog)
                frames += 1
        return frames

    def _accept(self, grab: Grab, connection: str, watchdog: Watchdog | None) -> None:
        now_s = self._clock.monotonic()
        if watchdog is not None:
            self._watch(watchdog.see(fingerprint(grab.image), now_s))
        self._size = (grab.image.shape[1], grab.image.shape[0])
        self._times.append(now_s)
        frame = Frame(
            camera=self.spec.id,
            image=grab.image,
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
                f"the picture has not changed for {self._limits.reopen_after_s:g} s; opening again"
            )
        if picture is Picture.FROZEN and self._state is CameraState.STREAMING:
            text = f"the picture has not changed for {self._limits.stale_after_s:g} s"
            self._move(CameraEvent.FROZEN, f"{text}; check the camera")
        elif picture is Picture.FRESH and self._state is CameraState.STALE:
            self._move(CameraEvent.FRAME, "")

    def _back_off(self, detail: str, failures: int) -> None:
        opening = self._state is CameraState.CONNECTING
        self._move(CameraEvent.OPEN_FAILED if opening else CameraEvent.LOST, detail)
        self._times.clear()
        limits = self._limits
        wait_s = backoff_s(failures, limits.backoff_base_s, limits.backoff_cap_s, self._rng)
        if not self._stopping.wait(wait_s):
            self._move(CameraEvent.RETRY, detail)

    def _move(self, event: CameraEvent, detail: str) -> None:
        self._state = advance(CAMERA_TABLE, self._state, event)
        self._detail = detail
        if self._on_camera is not None:
            self._on_camera(self.spec.id, self._state, detail)

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


def open_configured(spec: CameraSpec, connection: str, limits: CaptureLimits) -> Source:
    """Open what `spec.source` names. Raises CameraError where it is not there."""
    kind = spec.kind
    if kind is SourceKind.FOLDER:
        return FolderSource(Path(spec.source))
    if kind is SourceKind.FILE and not Path(spec.source).exists():
        raise CameraError(f"no file or folder at {spec.source}; check the camera's source")
    return VideoSource(
        spec.source,
        connection,
        live=kind is not SourceKind.FILE,
        timeouts=Timeouts(limits.open_timeout_s, limits.read_timeout_s),
    )


def fingerprint(image: Image) -> int:
    """A number that changes with the picture, from every 16th pixel of every 16th row."""
    sparse = image[::_FINGERPRINT_STRIDE, ::_FINGERPRINT_STRIDE]
    return zlib.crc32(sparse.tobytes())
