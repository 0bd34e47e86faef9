"""Which devices start now, with which build. Pure.

What limits them: the pace, the devices in flight, and for sites that are exchanged at one word
the room for the whole of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cloud.registry.resolution import BuildOffer, Resolution, resolve, resolve_unheard
from cloud.rollouts.planning.gate_steps import is_approved
from cloud.rollouts.planning.pace import MINUTE_S, allowance, rate_per_minute
from cloud.rollouts.planning.sites import Site, SiteKey, sites_of
from cloud.rollouts.planning.tally import Tally, is_brought_again, servable_digests
from cloud.rollouts.planning.views import (
    Action,
    DeviceView,
    EndExecution,
    Pause,
    Policy,
    RolloutView,
    StartExecution,
)
from cloud.rollouts.states import RolloutState
from protocol.builds import Capabilities
from protocol.states import ExecutionEvent

DIVERGED_GRACE_S = 30.0
"""A report says what runs, an alert says why, and they come by different streams."""


class Choice:
    """The best build for a device; worked out once for devices that can run the same."""

    def __init__(self, builds: Sequence[BuildOffer]) -> None:
        self._builds = builds
        self._of: dict[Capabilities | None, Resolution] = {}
        # Equal capabilities are mostly one object, of which the hash need not be taken.
        self._of_object: dict[int, Resolution] = {}

    def for_device(self, capabilities: Capabilities | None) -> Resolution:
        """One that never said what it can run gets the build that asks least, and judges for
        itself."""
        known = self._of_object.get(id(capabilities))
        if known is None:
            known = self._of.get(capabilities)
            if known is None:
                known = self._of[capabilities] = (
                    resolve_unheard(self._builds)
                    if capabilities is None
                    else resolve(self._builds, capabilities)
                )
            self._of_object[id(capabilities)] = known
        return known


class Room:
    """How many devices may start in this answer.

    Attributes:
        paced: by the pace, `free`: by the devices in flight.
        kept: of `free`, what sites that have begun need for the rest of them.
    """

    def __init__(self, policy: Policy, tally: Tally, now: float, *, at_once: bool = False) -> None:
        """at_once: only the ceilings hold, not the ramp towards them."""
        rate: float | None = None
        if policy.pace is not None:
            ramp = rate_per_minute(policy.pace, tally.succeeded)
            rate = policy.pace.per_minute_max if at_once else ramp
        self.paced: float = math.inf if rate is None else allowance(rate, tally.starts, now)
        most = policy.in_flight_max
        self.free: float = math.inf if most is None else most - tally.in_flight
        self.kept = 0

    def is_left(self, devices: int = 1) -> bool:
        """Whether so many more may be under way, beside what is kept."""
        return self.paced >= 1 and self.free - self.kept >= devices

    def take(self, *, kept: bool = False) -> None:
        self.paced -= 1
        self.free -= 1
        self.kept -= kept


def starts(
    rollout: RolloutView, devices: Sequence[DeviceView], tally: Tally, now: float
) -> list[Action]:
    """Start what may start, those that are tried again first."""
    due = _due_again(rollout, tally, now)
    if rollout.state is RolloutState.RUNNING and is_approved(rollout, rollout.wave):
        due += [device for device in tally.retried if _is_due(rollout.policy, device, now)]
        waiting = tally.waiting
    else:
        waiting = []
    room = Room(rollout.policy, tally, now)
    if not (due or waiting) or room.paced < 1 or room.free < 1:
        return []
    if rollout.policy.site_atomic:
        return _SiteStarts(rollout, sites_of(devices, tally), room).start(due, waiting)
    choice, actions = Choice(rollout.builds), []
    for device in (*due, *waiting):
        if not room.is_left():
            break
        action = _start(choice, device)
        if isinstance(action, StartExecution):
            room.take()
        actions.append(action)
    return actions


def _due_again(rollout: RolloutView, tally: Tally, now: float) -> list[DeviceView]:
    """Devices that run something else than they had committed, once the reason had time to
    come in."""
    if not tally.diverged:
        return []
    servable = servable_digests(rollout)
    return [
        device
        for device in tally.diverged
        if device.diverged
        and is_brought_again(rollout.policy, device, servable)
        and now - device.step_at >= DIVERGED_GRACE_S
        and may_start_again(rollout.policy, device, now)
    ]


def _is_due(policy: Policy, device: DeviceView, now: float) -> bool:
    ended_at = device.step_at if device.ended_at is None else device.ended_at
    return now - ended_at >= policy.retry_after_s and may_start_again(policy, device, now)


def may_start_again(policy: Policy, device: DeviceView, now: float) -> bool:
    """A further attempt hides when the one before it started, which the pace still counts."""
    lately = device.started_at is not None and now - device.started_at < MINUTE_S
    return policy.pace is None or not lately


def _start(choice: Choice, device: DeviceView, *, hold: bool = False) -> Action:
    """Start with the best build for the device; one that is tried again gets what it had."""
    if device.started_at is not None and device.digest is not None:
        return StartExecution(device.device_id, device.attempt + 1, device.digest, hold)
    found = choice.for_device(device.capabilities)
    if found.best is None:
        event = ExecutionEvent.NOTHING_FITS
        return EndExecution(device.device_id, device.attempt, event, found.reason)
    return StartExecution(device.device_id, device.attempt, found.best, hold)


class _SiteStarts:
    """Starts of a rollout that exchanges sites at one word.

    Sites begin in their order, whole; where the next one finds no room, no other is let past
    it, for a large site would never find any.
    """

    def __init__(self, rollout: RolloutView, sites: Mapping[SiteKey, Site], room: Room) -> None:
        self._most = rollout.policy.in_flight_max
        self._choice = Choice(rollout.builds)
        self._sites, self._room = sites, room
        self._begun = {key for key, site in sites.items() if site.begun}
        self._room.kept = sum(sites[key].to_come for key in self._begun)
        self._misfits: set[str] = set()
        self._blocked = False
        self._actions: list[Action] = []

    def start(self, due: Sequence[DeviceView], waiting: Sequence[DeviceView]) -> list[Action]:
        for device in (*due, *waiting):
            if self._room.paced < 1:
                break
            if device.device_id not in self._misfits:
                self._start_one(device)
        return self._actions

    def _start_one(self, device: DeviceView) -> None:
        key = (device.site or "", device.wave)
        site = self._sites.get(key)
        follows_alone = device.diverged or (
            site is not None and site.exchanged and device.started_at is not None
        )
        if device.site is None or site is None or follows_alone:
            if not self._blocked and self._room.is_left():
                self._add(_start(self._choice, device))
            return
        if key not in self._begun and not self._begin(key, site):
            return
        if device.device_id not in self._misfits and self._room.free >= 1:
            self._add(_start(self._choice, device, hold=True), kept=True)

    def _begin(self, key: SiteKey, site: Site) -> bool:
        """Keep room for the whole site; False where there is not enough."""
        if self._blocked:
            return False
        unfit = [d for d in site.waiting if self._choice.for_device(d.capabilities).best is None]
        size = site.to_come - len(unfit)
        if self._most is not None and size > self._most:
            self._blocked = True
            if not self._actions:
                self._actions.append(_too_large(key[0], size, self._most))
            return False
        if not self._room.is_left(size):
            self._blocked = True
            return False
        self._actions += [_start(self._choice, device) for device in unfit]
        self._misfits |= {device.device_id for device in unfit}
        self._begun.add(key)
        self._room.kept += size
        return True

    def _add(self, action: Action, *, kept: bool = False) -> None:
        self._actions.append(action)
        if isinstance(action, StartExecution):
            self._room.take(kept=kept)
        elif kept:  # of a site that had begun: nothing fits this one
            self._room.kept -= 1


def _too_large(site: str, size: int, most: int) -> Pause:
    return Pause(
        f"site {site} has {size} devices to exchange at one word, and in_flight_max is {most}: "
        "they could never be prepared together. Cancel, and start again with room for them"
    )
