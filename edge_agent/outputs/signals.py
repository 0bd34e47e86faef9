"""What the line is told: one value, whatever carries it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class SignalKind(str, Enum):
    """What a signal is about."""

    DETECTIONS = "detections"
    RULE = "rule"
    STOCK = "stock"
    NOTICE = "notice"


@dataclass(frozen=True)
class Signal:
    """One thing that the line is told.

    Attributes:
        source: the rule's or shelf's id; the camera's for detections and notices.
        at: Unix time of the frame's answer (s).
        active: of a rule, whether it holds from now on; None where there is nothing to hold.
        body: the content as JSON can carry it, complete by itself: it names kind, source,
            camera and time too.
    """

    kind: SignalKind
    source: str
    camera: str
    at: float
    active: bool | None = None
    body: dict[str, Any] = field(default_factory=dict)
