"""Check: there is room for the outbox, for bundles and for the next one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from edge_agent.doctor.finding import Box, Finding, advice, ok, problem

GIB = 1024**3
BUNDLE_BYTES_TYPICAL = 64 * 1024 * 1024


def check(box: Box) -> Iterator[Finding]:
    if box.config is None:
        return
    folder, limits = box.config.device.data_dir, box.config.limits
    while not folder.exists():
        folder = folder.parent
    quota_bytes = limits.records_bytes_max + limits.images_bytes_max
    yield judge(shutil.disk_usage(folder).free, limits.disk_free_bytes_min, quota_bytes)


def judge(free_bytes: int, kept_free_bytes: int, quota_bytes: int) -> Finding:
    """A download needs a bundle's size beside what must stay free; the outbox its quota."""
    seen = f"{free_bytes / GIB:.1f} GiB are free"
    if free_bytes < kept_free_bytes + BUNDLE_BYTES_TYPICAL:
        return problem(seen, "no update fits; make room or lower limits.disk_free_bytes_min")
    if free_bytes < kept_free_bytes + BUNDLE_BYTES_TYPICAL + quota_bytes:
        return advice(
            seen, "a full outbox would leave no room for an update; lower limits.images_bytes_max"
        )
    return ok(seen)
