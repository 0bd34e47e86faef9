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
    "asimddp",
)
CPUINFO = Path("/proc/cpuinfo")


def capabilities() -> Capabilities:
    """What this device can run. Runtimes that are not installed are not listed."""
    cpu_flags, gpu = cpu_flags_of_note(), probe()
    return Capabilities(
        architecture=platform.machine(),
        runtimes=runtimes(cpu_flags, gpu),
        memory_bytes=psutil.virtual_memory().total,
        cpu_flags=cpu_flags,
        gpu_name=gpu.name,
        compute_capability=gpu.compute_capability,
        tensorrt_version=gpu.tensorrt_version,
    )


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """What the processor is called; its architecture where the system does not say (Arm)."""
    return _lines(cpuinfo).get("model name") or platform.machine()


def cpu_flags_of_note(cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """The flags of note, from the line "flags" (x86) or "Features" (Arm)."""
    lines = _lines(cpuinfo)
    found = set((lines.get("flags") or lines.get("features") or "").split())
    return tuple(flag for flag in CPU_FLAGS_OF_NOTE if flag in found)


def _lines(cpuinfo: Path) -> dict[str, str]:
    """The first processor's lines by their names, in small letters; none where there are none."""
    found: dict[str, str] = {}
    try:
        text = cpuinfo.read_text()
    except OSError:
        return found
    for line in text.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip().lower(), value.strip())
    return found
