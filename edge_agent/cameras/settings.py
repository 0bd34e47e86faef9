"""A camera as agent.toml names it."""

from __future__ import annotations

from pydantic import Field

from edge_agent.cameras.source import CameraSpec
from edge_agent.section import Identifier, Section


class CameraSection(Section):
    """A video source and the slot (= model name) whose detector watches it.

    `live` says whether the newest frame wins; absent, the kind of source decides.
    """

    id: Identifier
    source: str = Field(min_length=1)
    slot: Identifier
    fps_max: float | None = Field(default=None, gt=0, le=1000)
    loop: bool = False
    live: bool | None = None

    def spec(self) -> CameraSpec:
        """The same for the pipeline."""
        return CameraSpec(
            self.id, self.source, self.slot, fps_max=self.fps_max, loop=self.loop, live=self.live
        )
