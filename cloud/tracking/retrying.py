"""When a version is pushed to the server (again): pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from cloud.tracking.models import TrackedVersion

DOUBLINGS_MAX = 20


@dataclass(frozen=True)
class Retry:
    """How long to wait after failures, in seconds."""

    first_s: float
    max_s: float

    def delay_s(self, failures: int, rng: random.Random) -> float:
        """Doubled with each failure in a row, up to the maximum, then half of it to all of it
        by chance, so that many versions do not come back at once."""
        whole = min(self.max_s, self.first_s * 2.0 ** min(max(failures - 1, 0), DOUBLINGS_MAX))
        return whole * rng.uniform(0.5, 1.0)


def is_due(
    row: TrackedVersion | None, content_sha256: str, retry_at: float | None, now: float
) -> bool:
    """Whether the server lacks this content, and the time of the next try has come."""
    is_news = row is None or row.content_sha256 != content_sha256
    return is_news and (retry_at is None or now >= retry_at)
