"""A camera that watches a rendered scene and hands every frame to every connection, in order.

A connection gets all frames rendered while it lasts. One that falls `backlog_frames_max` behind is
told so and dropped; frames are never left out silently.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import cv2

from simulators.dataset import CAMERA_START, JPEG_QUALITY
from simulators.scenes import Box, Drift, Scene


@dataclass(frozen=True)
class CameraSettings:
    """Name, rate and first frame number of one camera."""

    name: str
    fps: float = 10.0
    start_frame: int = CAMERA_START
    backlog_frames_max: int = 60

    def __post_init__(self) -> None:
        if not 0.1 <= self.fps <= 120:
            raise ValueError(f"fps is {self.fps}: give a rate between 0.1 and 120")


@dataclass(frozen=True)
class Frame:
    """One rendered frame, encoded."""

    number: int
    drift: Drift
    boxes: tuple[Box, ...]
    jpeg: bytes


@dataclass
class Connection:
    """Frames on their way to one client; `fell_behind` is set when there was no room for one."""

    token: str
    frames: queue.Queue[Frame]
    fell_behind: threading.Event = field(default_factory=threading.Event)


class Camera:
    """Renders at a steady rate and hands each frame to every connection.

    The world goes on while nobody watches, but nothing is rendered then.
    """

    def __init__(self, scene: Scene, settings: CameraSettings) -> None:
        self.scene = scene
        self.settings = settings
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._drift = Drift()
        self._frame_number = settings.start_frame
        self._connections: list[Connection] = []
        self._opened = 0
        self._thread = threading.Thread(
            target=self._run, name=f"{settings.name}-render", daemon=True
        )

    @property
    def drift(self) -> Drift:
        """The dials that the next frame is rendered with."""
        with self._lock:
            return self._drift

    def set_drift(self, drift: Drift) -> int:
        """Turn the dials; the number of the first frame that shows them."""
        with self._lock:
            self._drift = drift
            return self._frame_number

    def start(self) -> None:
        """Begin to render, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Render no more; who waits for a frame sees `stopping`."""
        self.stopping.set()
        self._thread.join(timeout=5)

    def connect(self, token: str | None) -> Connection:
        """Register a client; from the next frame on it gets all of them."""
        with self._lock:
            self._opened += 1
            frames: queue.Queue[Frame] = queue.Queue(self.settings.backlog_frames_max)
            connection = Connection(token or str(self._opened), frames)
            self._connections.append(connection)
            return connection

    def disconnect(self, connection: Connection) -> None:
        """Forget a client."""
        with self._lock:
            self._connections = [c for c in self._connections if c is not connection]

    def snapshot(self) -> Frame:
        """The scene as it is now, rendered for this call and not logged."""
        with self._lock:
            number, drift = self._frame_number, self._drift
        return self._render(number, drift)

    def describe(self) -> dict[str, Any]:
        """What `GET /` answers."""
        width, height = self.scene.size
        with self._lock:
            return {
                "camera": self.settings.name,
                "scene": self.scene.name,
                "class_names": list(self.scene.class_names),
                "width": width,
                "height": height,
                "fps": self.settings.fps,
                "frame_number": self._frame_number,
                "connections": [c.token for c in self._connections],
            }

    def _run(self) -> None:
        period_s = 1.0 / self.settings.fps
        due = time.monotonic()
        while not self.stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + period_s, time.monotonic())
            with self._lock:
                number, drift = self._frame_number, self._drift
                connections = tuple(self._connections)
                self._frame_number += 1
            if connections:
                frame = self._render(number, drift)
                for connection in connections:
                    self._hand_over(frame, connection)

    def _hand_over(self, frame: Frame, connection: Connection) -> None:
        try:
            connection.frames.put_nowait(frame)
        except queue.Full:
            connection.fell_behind.set()
            self.disconnect(connection)

    def _render(self, number: int, drift: Drift) -> Frame:
        image, boxes = self.scene.render(number, drift)
        encoded, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not encoded:
            raise RuntimeError(f"camera {self.settings.name}: frame {number} could not be encoded")
        return Frame(number, drift, boxes, jpeg.tobytes())
