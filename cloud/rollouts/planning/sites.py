"""Sites that are exchanged at one word: who belongs together, and when the word is given. Pure.

A site's devices of one wave wait in PREPARED until all of them are there. So they have to be
under way together: a site begins only where there is room for all of it, and that room is kept
for it. No number of devices in flight is ever exceeded, and no site waits for a device that
could not start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cloud.rollouts.planning.tally import Tally
from cloud.rollouts.planning.views import Action, DeviceView, Policy, Release, RolloutView
from protocol import maintenance
from protocol.states import BEFORE_EXCHANGE, ExecutionState

WORD_S = 15.0
"""What the word may take to every device of a site."""

SiteKey = tuple[str, int]
"""A site and a wave."""


@dataclass(slots=True)
class Site:
    """A site's devices of one wave.

    Attributes:
        held: they wait, or will wait, for the word.
        hindered: there is a device under way for which the others wait.
        waiting, retried: devices that have not started, and that are to be tried again.
        exchanged: the word has been given; who is tried again follows alone.
    """

    held: list[DeviceView] = field(default_factory=list)
    hindered: bool = False
    waiting: list[DeviceView] = field(default_factory=list)
    retried: list[DeviceView] = field(default_factory=list)
    exchanged: bool = False

    @property
    def begun(self) -> bool:
        """Whether some of it hold already, so that the others have to follow."""
        return bool(self.held)

    @property
    def to_come(self) -> int:
        """Devices that the site waits for and that have yet to start."""
        return len(self.waiting) + (0 if self.exchanged else len(self.retried))


def sites_of(devices: Sequence[DeviceView], tally: Tally) -> Mapping[SiteKey, Site]:
    """The sites of the open waves, in the order of their first devices."""
    found: dict[SiteKey, Site] = {}
    for device in devices:
        if device.released and device.site is not None:
            found.setdefault((device.site, device.wave), Site()).exchanged = True
    for device, site in _at_sites(found, tally.opened):
        if device.started_at is None:
            continue
        if device.held:
            site.held.append(device)
        site.hindered |= _is_late(device)
    for device, site in _at_sites(found, tally.waiting):
        site.waiting.append(device)
    for device, site in _at_sites(found, tally.retried):
        site.retried.append(device)
    return found


def _at_sites(
    found: dict[SiteKey, Site], devices: Iterable[DeviceView]
) -> Iterable[tuple[DeviceView, Site]]:
    for device in devices:
        if device.site is not None:
            yield device, found.setdefault((device.site, device.wave), Site())


def _is_late(device: DeviceView) -> bool:
    """Whether a device that was started holds its site up."""
    prepared = device.state is ExecutionState.PREPARED
    if device.held:
        return not (prepared and device.online and not device.vetoed)
    return device.state in BEFORE_EXCHANGE and not prepared and device.attempt == 1


def releases(
    rollout: RolloutView, devices: Sequence[DeviceView], tally: Tally, now: float
) -> list[Action]:
    """The word to each site of which every open device is prepared and there to hear it.

    Nobody there may be bound to wait all the same, by a line that says "not now" or a window that
    is shut or about to: the others would exchange without it.

    Failures of a site do not hold it up: where they are more than is tolerated, the rollout has
    been paused before this is asked. Nor do devices that came to it when no room was left.
    """
    if not rollout.policy.site_atomic:
        return []
    full = is_full(rollout.policy, tally)
    return [
        Release(name, tuple(device.device_id for device in site.held))
        for (name, _), site in sites_of(devices, tally).items()
        if site.begun and not site.hindered and (full or not site.to_come) and _is_open(site, now)
    ]


def _is_open(site: Site, now: float) -> bool:
    """Whether the window of every device is open, and stays so until the word has got there."""
    windows = {device.window for device in site.held if device.window is not None}
    return all(maintenance.is_open(window, at) for window in windows for at in (now, now + WORD_S))


def is_full(policy: Policy, tally: Tally) -> bool:
    """Whether as many devices are under way as may be."""
    return policy.in_flight_max is not None and tally.in_flight >= policy.in_flight_max
