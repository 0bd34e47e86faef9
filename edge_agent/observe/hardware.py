"""What the machine is and how it fares."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import psutil

from edge_agent.detect.runtimes import runtimes
from edge_agent.detect.tensorrt.probe import probe
from protocol.builds import Capabilities
from protocol.messages import Health

CPU_FLAGS_OF_NOTE = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "asimd",
    "asimdhp",
)


def health(data_dir: Path) -> Health:
    """Load and room now; what cannot be read is None.

    `cpu_percent` is the machine's load since the last call, None on the first.
    """
    memory = psutil.virtual_memory()
    return Health(
        cpu_percent=psutil.cpu_percent(interval=None) or None,
        rss_bytes=psutil.Process().memory_info().rss,
        memory_available_bytes=memory.available,
        disk_free_bytes=_disk_free_bytes(data_dir),
        temperature_c=_temperature_c(),
    )


def capabilities() -> Capabilities:
    """What this device can run. Runtimes that are not installed are not listed."""
    cpu_flags, gpu = _cpu_flags(Path("/proc/cpuinfo")), probe()
    return Capabilities(
        architecture=platform.machine(),
        runtimes=runtimes(cpu_flags, gpu),
        memory_bytes=psutil.virtual_memory().total,
        cpu_flags=cpu_flags,
        gpu_name=gpu.name,
        compute_capability=gpu.compute_capability,
        tensorrt_version=gpu.tensorrt_version,
    )


def _disk_free_bytes(folder: Path) -> int | None:
    try:
        return int(psutil.disk_usage(str(folder)).free)
    except OSError:
        return None


def _temperature_c() -> float | None:
    """The hottest sensor's reading."""
    read: Any = getattr(psutil, "sensors_temperatures", None)
    if read is None:
        return None
    try:
        sensors = read()
    except OSError:
        return None
    return max((s.current for group in sensors.values() for s in group), default=None)


def _cpu_flags(cpuinfo: Path) -> tuple[str, ...]:
    """The flags of note, from the line "flags" (x86) or "Features" (Arm)."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return ()
    for line in lines:
        key, _, text = line.partition(":")
        if key.strip().lower() in {"flags", "features"}:
            found = set(text.split())
            return tuple(flag for flag in CPU_FLAGS_OF_NOTE if flag in found)
    return ()
