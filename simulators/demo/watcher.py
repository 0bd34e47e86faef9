"""What the hub hears from the fleet, looked up now and then and shown."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from simulators.demo.screen import CameraView, Screen
from simulators.hub import Hub, HubError

LOOK_EVERY_S = 1.0
HISTORY_WINDOWS = 40


@dataclass
class Watcher:
    """Follows events and telemetry through the REST interface.

    `cameras` gives the device of each camera, as soon as there is one.
    """

    hub: Hub
    screen: Screen
    cameras: dict[str, str]
    since: float
    _seen: set[int] = field(default_factory=set)
    _views: dict[str, CameraView] = field(default_factory=dict)
    _next_look: float = 0.0

    def look(self, *, now: bool = False) -> None:
        """Ask the hub what is new, at most every LOOK_EVERY_S; an unreachable hub waits."""
        if not now and time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_EVERY_S
        try:
            self._look_at_events()
            for camera, device in self.cameras.items():
                self._look_at_camera(camera, device)
        except HubError as error:
            if error.status != 0:
                raise
        self.screen.cameras(list(self._views.values()))

    def _look_at_events(self) -> None:
        for event in self.hub.items("/events", since=self.since):
            if event["id"] in self._seen:
                continue
            self._seen.add(event["id"])
            self.screen.say(event["device_id"], tell(event))

    def _look_at_camera(self, camera: str, device: str) -> None:
        view = self._views.setdefault(
            camera, CameraView(camera, device, deque(maxlen=HISTORY_WINDOWS))
        )
        rows = self.hub.items(
            "/telemetry/windows", camera=camera, since=view.window_end or self.since
        )
        for row in sorted(rows, key=lambda r: float(r["window_end"])):
            if row["window_end"] > view.window_end:
                view.take(row)


def tell(event: dict[str, Any]) -> str:
    """An event in a few words."""
    detail = event["detail"]
    if event["kind"] == "execution":
        return f"{detail['state']} {detail['bundle_digest'][:10]} {detail['reason']}".rstrip()
    if event["kind"] == "camera":
        return f"camera {detail['state']}"
    return f"{detail['name']}: {detail['text']}"
