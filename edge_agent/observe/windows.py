"""The sink that counts: statistics per camera and build over windows of time."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.ledger import Ledger
from edge_agent.results import FrameResult
from protocol.windows import WindowStats

EmitWindow = Callable[[str, str, str, float, float, WindowStats], None]
"""camera, slot, bundle digest, start and end (Unix seconds), statistics."""


class WindowSink:
    """Sink `statistics`; `set_window_s` may be called by any thread."""

    name = "statistics"

    def __init__(self, window_s: float, ledger: Ledger, emit: EmitWindow) -> None: ...

    def set_window_s(self, window_s: float) -> None: ...

    def take(self, result: FrameResult) -> None: ...

    def tick(self, wall_s: float, monotonic_s: float) -> None: ...

    def close(self) -> None: ...
