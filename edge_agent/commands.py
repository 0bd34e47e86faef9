"""One-off requests of the hub: each is answered, or had expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.errors import EdgeError
from edge_agent.harvest.sink import snapshot
from edge_agent.journal import Journal
from edge_agent.pipeline import Pipeline
from protocol.messages import Command, CommandResponse, as_text


class CommandRefused(EdgeError):  # noqa: N818 - an answer, not a fault
    """The command cannot be done; the text says why."""


class Commands:
    """Carries out commands by name."""

    def __init__(
        self,
        device_id: str,
        pipeline: Pipeline,
        cameras: tuple[str, ...],
        journal: Journal,
        report_now: Callable[[], None],
    ) -> None:
        self._device_id, self._pipeline, self._cameras = device_id, pipeline, cameras
        self._journal, self._report_now = journal, report_now
        self._verbs: Mapping[str, Callable[[dict[str, Any]], str]] = {
            "report": self._report,
            "snapshot": self._snapshot,
        }
        self.counters: Counter[str] = Counter()

    def answer(self, command: Command, wall: float) -> CommandResponse | None:
        """Do what was asked; None where it came too late to be wanted."""
        if command.expires_at < wall:
            self.counters["commands_expired"] += 1
            return None
        try:
            ok, text = True, self._verbs[command.name](command.arguments)
        except EdgeError as error:
            ok, text = False, str(error)
        self.counters["commands_done" if ok else "commands_refused"] += 1
        return CommandResponse(
            device_id=self._device_id, command_id=command.command_id, ok=ok, text=as_text(text)
        )

    def _report(self, _arguments: dict[str, Any]) -> str:
        self._report_now()
        return "reported"

    def _snapshot(self, arguments: dict[str, Any]) -> str:
        """`camera` may be left out where there is only one."""
        camera = arguments.get("camera", self._cameras[0] if len(self._cameras) == 1 else None)
        if camera not in self._cameras:
            raise CommandRefused(
                f"there is no camera {camera!r} here; name one of: {', '.join(self._cameras)}"
            )
        result = self._pipeline.latest(camera)
        if result is None:
            raise CommandRefused(f"camera {camera} has given no result yet; ask again later")
        if not self._journal.sample(snapshot(result)):
            raise CommandRefused(f"the image of {camera} could not be kept; see the device's log")
        return f"frame {result.frame.frame_id} is on its way as a sample"
