"""How well a virtual device does."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Dials:
    """How well a device does.

    Attributes:
        offline: share of the time for which it is away, `offline_s` at a time.
        slow: factor on `step_s`, the time that each step of an update takes.
        failing: probability that an update fails in its proof.
        unsure: probability that a shadow ends without a verdict, which asks a person.
    """

    offline: float = 0.0
    offline_s: float = 10.0
    slow: float = 1.0
    step_s: float = 0.1
    failing: float = 0.0
    unsure: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.failing, self.unsure)
        if not 0 <= self.offline < 1 or not all(0 <= share <= 1 for share in shares):
            raise ValueError("offline is a share below 1, failing and unsure are up to 1")
        if any(getattr(self, f.name) < 0 for f in fields(self)):
            raise ValueError("no dial is negative")
