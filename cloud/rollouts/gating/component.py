"""One figure of a gate's verdict. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cloud.promotion.gate import Finding


@dataclass(frozen=True)
class Component:
    """One figure of the verdict.

    Attributes:
        kind: `frames`, `detections`, `cameras`; `confidence`, `detection_rate`, `class_mix`,
            `latency`, `dropped`; `restarts`, `overrides`, `shadow`.
        camera: "device/camera" where it is of one camera; "": of the wave.
        before, after: in the figure's unit; means over the cameras where it is of the wave.
        shift: by how much it is worse after, less what the controls show; below 0: better.
        low, high: one-sided bounds of the shift, each at the test's alpha; None without.
        margin: what is allowed.
        p_harm: of "no harm beyond the margin", corrected for all comparisons of the test.
        cameras, controls: how many the figure is of, and whose common shift was taken off.
        frames_factor: with how many times the frames it would likely be shown to hold; None:
            it holds, or more of the same would not help.
    """

    name: str
    kind: str
    finding: Finding
    reason: str
    camera: str = ""
    before: float | None = None
    after: float | None = None
    shift: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    p_harm: float | None = None
    cameras: int = 0
    controls: int = 0
    frames_factor: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return {**asdict(self), "finding": self.finding.value}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Component:
        """What `as_dict` gave."""
        return cls(**{**values, "finding": Finding(values["finding"])})
