"""What the machine is."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil

from edge_agent.detect.runtimes import runtimes
from edge_agent.detect.tensorrt.probe import probe
from protocol.builds import Capabilities

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
