"""Check: the GPU that is there can be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_agent.doctor.finding import Box, Finding, advice, ok

DEVICES = ("dev/nvidia0", "dev/nvhost-gpu", "dev/nvgpu/igpu0/ctrl")
PCI_VENDORS = "sys/bus/pci/devices/*/vendor"
NVIDIA = "0x10de"


def check(_box: Box) -> Iterator[Finding]:
    from edge_agent.detect.tensorrt.probe import probe

    found = probe()
    yield judge(found.name, found.compute_capability, is_there(Path("/")))


def judge(name: str | None, compute_capability: str | None, hardware: bool) -> Finding:
    """`hardware`: whether this machine has an NVIDIA GPU, usable or not."""
    if name is not None and compute_capability is not None:
        return ok(f"{name}, compute capability {compute_capability}")
    if hardware:
        return advice(
            "there is an NVIDIA GPU that cannot be asked",
            "install the driver and `pip install nvidia-ml-py`, and let the agent's user open "
            "/dev/nvidia* (under systemd: DeviceAllow=char-nvidia* rw)",
        )
    return ok("no NVIDIA GPU; detectors run on the processor")


def is_there(root: Path) -> bool:
    """Whether the machine has an NVIDIA GPU, by its devices or on its PCI bus."""
    if any((root / device).exists() for device in DEVICES):
        return True
    return any(_text(vendor) == NVIDIA for vendor in root.glob(PCI_VENDORS))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
