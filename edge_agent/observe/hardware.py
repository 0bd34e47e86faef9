"""What the machine is and how it fares."""

from __future__ import annotations

from pathlib import Path

from protocol.builds import Capabilities
from protocol.messages import Health


def health(data_dir: Path) -> Health:
    """Load and room now; what cannot be read is None."""
    return Health(disk_free_bytes=None if data_dir else None)


def capabilities() -> Capabilities:
    """What this device can run."""
    return Capabilities(architecture="", runtimes=())
