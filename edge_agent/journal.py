"""What the agent keeps for the hub, written to the outbox as messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from edge_agent.clock import Clock
from edge_agent.harvest.sink import HarvestedSample
from edge_agent.link.outbox import Outbox, OutboxError
from edge_agent.update.turned import Turned
from protocol.chunks import describe
from protocol.messages import (
    Alert,
    CameraEventReport,
    EventReport,
    ExecutionReport,
    SampleReport,
    TelemetryReport,
    as_text,
)
from protocol.states import CameraState
from protocol.windows import WindowStats

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class WindowEmitted:
    """A window of statistics, as the sink emits it."""

    camera: str
    slot: str
    bundle_digest: str
    window_start: float
    window_end: float
    stats: WindowStats


@dataclass(frozen=True)
class CameraChanged:
    """A camera's state changed."""

    camera: str
    state: CameraState
    detail: str


class Journal:
    """Keeps what happened. What the disk refuses is counted and logged, and life goes on."""

    def __init__(self, device_id: str, outbox: Outbox, clock: Clock, image_bytes_max: int) -> None:
        self._device_id, self._outbox, self._clock = device_id, outbox, clock
        self._image_bytes_max = image_bytes_max
        self.counters: Counter[str] = Counter()
        self._refused = False

    def window(self, emitted: WindowEmitted) -> None:
        self._keep(
            lambda: self._outbox.append(
                "telemetry",
                lambda epoch, sequence: TelemetryReport(
                    device_id=self._device_id, epoch=epoch, sequence=sequence, **vars(emitted)
                ),
            )
        )

    def execution(self, report: ExecutionReport) -> None:
        self._event(execution=report)

    def execution_once(self, key: str, number: int, report: ExecutionReport) -> bool:
        """Keep a transition unless it was kept before; False: the disk refused, ask again.

        `number` is the transition's, and never goes back for `key` (a slot).
        """
        make = self._report(execution=report)
        return self._keep(lambda: self._outbox.append_once(key, number, "events", make))

    def told(self, key: str) -> int:
        """The last transition that was kept for `key`; 0 where none was or none can be read."""
        try:
            return self._outbox.told(key)
        except OutboxError as error:
            log.warning("told_unreadable", key=key, reason=str(error))
            return 0

    def camera(self, changed: CameraChanged) -> None:
        self._event(
            camera=CameraEventReport(
                camera=changed.camera, state=changed.state, detail=as_text(changed.detail)
            )
        )

    def alert(self, name: str, text: str) -> None:
        self._event(alert=Alert(name=name, text=as_text(text)))

    def turned(self, slot: str, turn: Turned) -> bool:
        """Keep that another bundle took over, in digests too: what the hub knows of the slot's past
        hangs on that. Once, and with its own time; False: the disk refused, ask again."""
        said = turn.model_dump(include={"text", "left", "serves"})
        make = self._report(turn.at, alert=Alert(name=turn.alert, slot=slot, **said))
        key = f"turned:{slot}"  # the slot's own counts its transitions
        return self._keep(lambda: self._outbox.append_once(key, turn.number, "events", make))

    def sample(self, harvested: HarvestedSample) -> bool:
        """Keep an image with what was seen in it; whether it could be kept."""
        fields = {k: v for k, v in vars(harvested).items() if k != "jpeg"}
        if len(harvested.jpeg) > self._image_bytes_max:
            self.counters["samples_too_large"] += 1
            log.warning("sample_too_large", camera=harvested.camera, bytes=len(harvested.jpeg))
            return False
        return self._keep(
            lambda: self._outbox.append_sample(
                lambda epoch, sequence: SampleReport(
                    device_id=self._device_id,
                    epoch=epoch,
                    sequence=sequence,
                    image=describe(harvested.jpeg),
                    **fields,
                ),
                harvested.jpeg,
                harvested.reason,
            )
        )

    def _event(self, **fields: Any) -> None:
        make = self._report(**fields)
        self._keep(lambda: self._outbox.append("events", make))

    def _report(
        self, told_at: float | None = None, /, **fields: Any
    ) -> Callable[[str, int], EventReport]:
        at = self._clock.wall() if told_at is None else told_at
        return lambda epoch, sequence: EventReport(
            device_id=self._device_id, epoch=epoch, sequence=sequence, at=at, **fields
        )

    def _keep(self, append: Callable[[], object]) -> bool:
        try:
            append()
        except OutboxError as error:
            self.counters["outbox_refused"] += 1
            if not self._refused:  # once per shortage: a full disk is asked again and again
                log.warning("not_kept", reason=str(error))
            self._refused = True
            return False
        self._refused = False
        return True
