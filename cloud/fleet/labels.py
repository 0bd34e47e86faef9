"""By what a device is chosen."""

from __future__ import annotations

from cloud.fleet.models import Device
from cloud.fleet.selectors import DEVICE, SITE


def attributes(device: Device) -> dict[str, str]:
    """What selectors look at: labels, and over them the hub's own `site` and `device`."""
    own = {DEVICE: device.id}
    if device.site is not None:
        own[SITE] = device.site
    return {**device.labels, **own}
