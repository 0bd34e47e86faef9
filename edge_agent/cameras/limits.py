"""Bounds that hold for every camera of the device."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.cameras.images import DEFAULT_LIMITS, ImageLimits


@dataclass(frozen=True)
class CaptureLimits:
    """Bounds of a camera's patience and size.

    Attributes:
        open_timeout_s, read_timeout_s: for what is neither file nor folder.
        backoff_base_s, backoff_cap_s: between tries to open a source.
        stable_after_s: seconds of frames after which the count of failures starts anew.
        images: bounds of one picture.
    """

    open_timeout_s: float = 5.0
    read_timeout_s: float = 5.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    stable_after_s: float = 30.0
    images: ImageLimits = DEFAULT_LIMITS
