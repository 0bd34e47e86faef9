"""Whom a rollout is meant for, in which wave, and with which build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from cloud.access.principal import Principal
from cloud.errors import InvalidError, NotFoundError
from cloud.fleet import selectors
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.fleet.selectors import Selector
from cloud.registry import service as registry
from cloud.registry.models import Build
from cloud.registry.offering import offer
from cloud.registry.resolution import BuildOffer, resolve, resolve_unheard
from cloud.registry.schemas import ResolutionView
from cloud.rollouts.schemas import DevicePlan
from cloud.rollouts.spec import RolloutCreate, WaveAsked
from cloud.rollouts.waves import Target, Wave, assign

NAMED_MAX = 5


@dataclass(frozen=True)
class Meant:
    """What a request comes to now.

    Attributes:
        waves: complete; `assigned` has the device ids of each.
    """

    builds: Sequence[Build]
    devices: Sequence[Device]
    waves: list[WaveAsked]
    assigned: Sequence[Sequence[str]]


def meant(session: Session, principal: Principal, asked: RolloutCreate, seed: str) -> Meant:
    """The builds and devices of a request. `seed` decides who goes first. Raises as `create`."""
    builds = _builds(session, principal, asked)
    groups = fleet.group_selectors(session)
    devices = _selected(session, principal, asked, groups)
    assigned = _assigned(asked, devices, seed, groups)
    left = [WaveAsked(count=len(ids)) for ids in assigned[len(asked.waves) :]]
    return Meant(builds, devices, [*asked.waves, *left], assigned)


def plans(session: Session, found: Meant) -> list[DevicePlan]:
    """For every device that is meant, the build that it would get now."""
    lowest = registry.floor(session, found.builds[0].model)
    offers = [offer(build, lowest) for build in found.builds]
    waves = {device_id: number for number, wave in enumerate(found.assigned) for device_id in wave}
    return [plan(offers, device, waves[device.id]) for device in found.devices]


def plan(offers: Sequence[BuildOffer], device: Device, wave: int) -> DevicePlan:
    """Which of `offers` one device would get."""
    reported = fleet.reported(device)
    heard = reported is not None
    found = resolve(offers, reported.capabilities) if reported else resolve_unheard(offers)
    return DevicePlan(
        wave=wave, **ResolutionView.of(device.id, found, offers, heard=heard).model_dump()
    )


def named(field: str, text: str, groups: Mapping[str, Selector]) -> Selector:
    """A selector as it was written. Raises InvalidError, and NotFoundError for a group."""
    found = selectors.parse(text, field)
    unknown = sorted(selectors.groups_named(found) - set(groups))
    if unknown:
        raise NotFoundError(
            f"{field}: there is no group {unknown[0]}", "`argosy group list` shows the groups"
        )
    return found


def _assigned(
    asked: RolloutCreate,
    devices: Sequence[Device],
    seed: str,
    groups: Mapping[str, Selector],
) -> Sequence[Sequence[str]]:
    """Device ids of each wave. Raises InvalidError where one would be empty."""
    waves = [
        Wave(
            wave.percent,
            wave.count,
            named(f"waves.{number}.selector", wave.selector, groups) if wave.selector else None,
        )
        for number, wave in enumerate(asked.waves)
    ]
    targets = [
        Target(device.id, fleet.attributes(device), device.site if asked.site_atomic else None)
        for device in devices
    ]
    assigned = assign(waves, targets, seed, groups)
    for number, wave in enumerate(asked.waves):
        if wave.selector is not None and not assigned[number]:
            raise InvalidError(
                f"waves.{number}.selector: no remaining device fits {wave.selector}",
                "correct it, or put this wave before the ones that take its devices",
            )
    return assigned


def _builds(session: Session, principal: Principal, asked: RolloutCreate) -> list[Build]:
    """The builds to give out, of one version."""
    if asked.bundle_digest is not None:
        found = [registry.get_build(session, principal, asked.bundle_digest)]
        if found[0].model != asked.model:
            raise InvalidError(
                f"bundle_digest: that build is of model {found[0].model}, not {asked.model}",
                f"set model to {found[0].model} or name another build",
            )
    else:
        number = asked.version or 0
        version = registry.get_version(session, principal, asked.model, number)
        found = registry.builds_of(session, version)
    if found:
        registry.check_standing(session, asked.model, found[0].number)
    standing = [build for build in found if registry.admitted(build)]
    if not standing:
        raise InvalidError(
            f"{asked.model} has no build there that is not rejected",
            "name another version, or reinstate the build",
        )
    return standing


def _selected(
    session: Session, principal: Principal, asked: RolloutCreate, groups: Mapping[str, Selector]
) -> list[Device]:
    model, wanted = asked.model, named("selector", asked.selector, groups)
    everything = fleet.list_devices(session, principal)
    ids = None if asked.devices is None else set(asked.devices)
    if ids is not None:
        _check_named(model, ids, {device.id: device for device in everything})
    chosen = [
        device
        for device in everything
        if model in device.models
        and (ids is None or device.id in ids)
        and selectors.fits(wanted, fleet.attributes(device), groups)
    ]
    if not chosen and not wanted and ids is None:
        raise InvalidError(
            f"no device uses {model}",
            f"enrol one: `argosy device enrol NAME --model {model}`",
        )
    if not chosen:
        raise InvalidError(
            f"selector: no device that runs {model} fits {asked.selector or 'it'}",
            "widen it, or enrol devices with this model",
        )
    return chosen


def _check_named(model: str, ids: set[str], known: Mapping[str, Device]) -> None:
    missing = sorted(ids - set(known))
    if missing:
        raise NotFoundError(
            f"devices: not enrolled: {', '.join(missing[:NAMED_MAX])}",
            "`argosy device list` shows the enrolled ones",
        )
    others = sorted(name for name in ids if model not in known[name].models)
    if others:
        raise InvalidError(
            f"devices: {', '.join(others[:NAMED_MAX])} does not run {model}",
            "leave it out, or enrol it with this model",
        )
