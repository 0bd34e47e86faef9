"""Cameras as agent.toml names them, and the bounds that hold for all."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from edge_agent.cameras.images import DEFAULT_LIMITS, ImageLimits
from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.source import (
    CameraSpec,
    Codec,
    Decoder,
    Region,
    SourceKind,
    Transport,
    check_source,
    source_kind,
)
from edge_agent.errors import CameraError
from edge_agent.section import Bytes, Count, Identifier, PositiveS, Section

SOURCE_CHARACTERS_MAX = 4096
ROUNDING = 1e-9


class RegionSection(Section):
    """The part of the rotated picture that is seen, in shares of its width and height."""

    x: float = Field(default=0.0, ge=0, lt=1)
    y: float = Field(default=0.0, ge=0, lt=1)
    width: float = Field(default=1.0, gt=0, le=1)
    height: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _inside(self) -> RegionSection:
        if max(self.x + self.width, self.y + self.height) > 1 + ROUNDING:
            raise ValueError("x + width and y + height must be 1 at most")
        return self

    def region(self) -> Region:
        """The same for the pipeline."""
        return Region(self.x, self.y, self.width, self.height)


class CameraSection(Section):
    """A video source and the slot (= model name) whose detector watches it.

    `live` says whether the newest frame wins; absent, the kind of source decides.
    `connection_token` false sends an HTTP source's URL exactly as it is written.
    """

    id: Identifier
    source: str = Field(min_length=1, max_length=SOURCE_CHARACTERS_MAX)
    slot: Identifier
    fps_max: float | None = Field(default=None, gt=0, le=1000)
    loop: bool = False
    live: bool | None = None
    rotate: Literal[0, 90, 180, 270] = 0
    roi: RegionSection | None = None
    decoder: Decoder = Decoder.CPU
    codec: Codec = Codec.H264
    transport: Transport = Transport.TCP
    connection_token: bool = True
    stale_after_s: PositiveS = 10.0
    reopen_after_s: PositiveS = 120.0
    track: bool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> CameraSection:
        try:
            check_source(self.source)
        except CameraError as error:
            raise ValueError(f"source: {error}") from error
        if self.decoder is Decoder.NVDEC and not self.source.startswith("rtsp"):
            raise ValueError("decoder: nvdec decodes rtsp:// only; remove it, or write gst:…")
        if self.reopen_after_s < self.stale_after_s:
            raise ValueError("reopen_after_s: is before stale_after_s; make it longer")
        return self

    def seen_from(self, base: Path) -> CameraSection:
        """The same with a relative file or folder seen from the folder `base`."""
        if source_kind(self.source) not in (SourceKind.FILE, SourceKind.FOLDER):
            return self
        return self.model_copy(update={"source": str(base / Path(self.source).expanduser())})

    def spec(self) -> CameraSpec:
        """The same for the pipeline."""
        return CameraSpec(
            id=self.id,
            source=self.source,
            slot=self.slot,
            fps_max=self.fps_max,
            loop=self.loop,
            live=self.live,
            rotate=self.rotate,
            region=self.roi.region() if self.roi else None,
            decoder=self.decoder,
            codec=self.codec,
            transport=self.transport,
            connection_token=self.connection_token,
            stale_after_s=self.stale_after_s,
            reopen_after_s=self.reopen_after_s,
            track=self.track,
        )


class CaptureSection(Section):
    """Bounds that hold for every camera of the device."""

    open_timeout_s: PositiveS = CaptureLimits.open_timeout_s
    read_timeout_s: PositiveS = CaptureLimits.read_timeout_s
    reconnect_first_s: PositiveS = CaptureLimits.backoff_base_s
    reconnect_cap_s: PositiveS = CaptureLimits.backoff_cap_s
    stable_after_s: PositiveS = CaptureLimits.stable_after_s
    image_pixels_max: Count = DEFAULT_LIMITS.pixels_max
    image_bytes_max: Bytes = DEFAULT_LIMITS.file_bytes_max

    def limits(self) -> CaptureLimits:
        """The same for the pipeline."""
        return CaptureLimits(
            open_timeout_s=self.open_timeout_s,
            read_timeout_s=self.read_timeout_s,
            backoff_base_s=self.reconnect_first_s,
            backoff_cap_s=self.reconnect_cap_s,
            stable_after_s=self.stable_after_s,
            images=ImageLimits(self.image_pixels_max, self.image_bytes_max),
        )
