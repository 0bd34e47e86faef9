"""The frames that wait for one slot, and whose turn it is."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from edge_agent.cameras.source import CameraSpec, Frame
from edge_agent.ledger import STOPPED, SUPERSEDED, Ledger


class Feed:
    """A buffer per camera, emptied in turn so that no camera starves another.

    A live camera's newest frame replaces the one that waits; a camera that is read in
    order waits for room, and loses nothing.
    """

    def __init__(self, cameras: Sequence[CameraSpec], buffer_frames: int, ledger: Ledger) -> None:
        self._waiting: dict[str, deque[Frame]] = {c.id: deque() for c in cameras}
        self._live = {c.id for c in cameras if c.is_live}
        self._turn = deque(self._waiting)
        self._buffer_frames = buffer_frames
        self._ledger = ledger
        self._changed = threading.Condition()
        self._closed = False

    def put(self, frame: Frame) -> None:
        """Count the frame as captured and let it wait; blocks where the camera's buffer is full."""
        camera = frame.camera
        self._ledger.captured(camera)
        with self._changed:
            waiting = self._waiting[camera]
            if camera in self._live:
                self._drop(camera, SUPERSEDED)
            else:
                self._changed.wait_for(lambda: self._closed or len(waiting) < self._buffer_frames)
            if self._closed:
                self._ledger.dropped(camera, STOPPED)
                return
            waiting.append(frame)
            self._changed.notify_all()

    def take(self, frames_max: int, timeout_s: float, gather_s: float) -> list[Frame]:
        """Up to `frames_max` frames in turn; none where none came in time or it is closed.

        From the first frame on it waits for others no longer than `gather_s`, and not at all
        where `frames_max` wait already.
        """
        with self._changed:
            if not self._changed.wait_for(self._ready, timeout_s):
                return []
            self._changed.wait_for(lambda: self._closed or self._count() >= frames_max, gather_s)
            taken: list[Frame] = []
            while len(taken) < frames_max and (frame := self._next()) is not None:
                taken.append(frame)
            self._changed.notify_all()
            return taken

    def drop_live(self, cause: str) -> None:
        """Drop the live frames that wait; those read in order go on waiting."""
        with self._changed:
            for camera in self._live:
                self._drop(camera, cause)

    def close(self) -> None:
        """Drop what waits and wake whoever waits; later frames are dropped as well."""
        with self._changed:
            self._closed = True
            for camera in self._waiting:
                self._drop(camera, STOPPED)
            self._changed.notify_all()

    def _ready(self) -> bool:
        return self._closed or any(self._waiting.values())

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _next(self) -> Frame | None:
        """The first waiting frame of the camera whose turn it is; None where none waits."""
        for _ in range(len(self._turn)):
            camera = self._turn[0]
            self._turn.rotate(-1)
            if self._waiting[camera]:
                return self._waiting[camera].popleft()
        return None

    def _drop(self, camera: str, cause: str) -> None:
        waiting = self._waiting[camera]
        if waiting:
            self._ledger.dropped(camera, cause, len(waiting))
            waiting.clear()
