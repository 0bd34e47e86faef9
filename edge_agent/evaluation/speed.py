"""How fast a bundle answers a single live camera on this machine, and with how much memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.cameras.images import read_image
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.detector import Detector, detect
from edge_agent.detect.letterbox import Prepared
from edge_agent.detect.options import cores
from edge_agent.errors import BadImageError
from edge_agent.observe.hardware import capabilities, cpu_name

WARM_FRAMES = 3
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)


def latencies_ms(detector: Detector, paths: Sequence[Path], clock: Clock) -> list[float]:
    """Time in the runtime and the head, of one image after the other with nothing beside.

    It is what a device's statistics call latency. Images that cannot be read are passed over;
    the first that can be warms the runtime before it is timed.
    """
    found: list[float] = []
    last: Prepared | None = None
    for path in paths:
        try:
            image = read_image(path)
        except BadImageError:
            continue
        if last is None:
            for _ in range(WARM_FRAMES):
                detect(detector, image)
        last = detector.prepare((image,), last)
        started_s = clock.monotonic()
        detector.infer(last)
        found.append((clock.monotonic() - started_s) * 1000)
    return found


def spread(found_ms: Sequence[float]) -> dict[str, Any] | None:
    """Median and 95th percentile (ms) of so many frames; None of none."""
    if not found_ms:
        return None
    median, p95 = np.percentile(found_ms, (50, 95))
    return {"median": round(float(median), 3), "p95": round(float(p95), 3), "frames": len(found_ms)}


def machine_and_runtime(loaded: LoadedBundle) -> dict[str, Any]:
    """What computed the answers, by the keys "machine" and "runtime"."""
    me, build = capabilities(), loaded.manifest.build
    versions = {runtime.runtime: runtime.version for runtime in me.runtimes}
    return {
        "runtime": {
            "name": build.runtime,
            "version": versions.get(build.runtime),
            "precision": build.runtime_precision.value,
        },
        "machine": {
            "cpu": cpu_name(),
            "cores": cores(),
            "cpu_flags": list(me.cpu_flags),
            "gpu": me.gpu_name,
        },
    }


def peak_rss_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """The most memory that this program held at a time; None where the system does not say.

    Not from getrusage, which counts what the parent held when it forked.
    """
    try:
        found = _PEAK.search(status.read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
