"""What the machine's meters say at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MachineReading:
    """Load of processor and GPU (percent) and the hottest part (degrees Celsius).

    What cannot be read is None, never 0.
    """

    cpu_percent: float | None = None
    gpu_percent: float | None = None
    temperature_c: float | None = None
