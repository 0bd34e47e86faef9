"""What the machine is and how it fares."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import psutil

from protocol.builds import Capabilities, Format, Precision, RuntimeCapability
from protocol.messages import Health

CPU_FLAGS_OF_NOTE = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
)

# The ONNX opset that ONNX Runtime 1.x knows up to. 1.23 and 1.31 were tried; a release
# between two entries is taken to know no more than the earlier one.
_OPSET_BY_RUNTIME = {20: 21, 21: 22, 23: 23, 31: 26}
_OPSET_OLDEST = 19


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
    return Capabilities(
        architecture=platform.machine(),
        runtimes=tuple(r for r in (_onnxruntime(),) if r is not None),
        memory_bytes=psutil.virtual_memory().total,
        cpu_flags=_cpu_flags(Path("/proc/cpuinfo")),
    )


def opset_max(version: str) -> int:
    """The highest ONNX opset of an ONNX Runtime version; for a newer one than is known here,
    that of the newest known, which errs on the safe side."""
    minor = int(version.split(".")[1])
    known = [opset for release, opset in _OPSET_BY_RUNTIME.items() if release <= minor]
    return max(known, default=_OPSET_OLDEST)


def _onnxruntime() -> RuntimeCapability | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    version = str(onnxruntime.__version__)
    return RuntimeCapability(
        runtime="onnxruntime",
        version=version,
        formats=(Format.ONNX,),
        precisions=(Precision.FP32,),
        opset_max=opset_max(version),
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
