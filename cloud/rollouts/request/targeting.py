"""Whom a rollout is meant for, in which wave, and with which build."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlmodel import Session

from cloud.access.principal import Principal
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.fleet import selectors
from cloud.fleet import service as fleet
from cloud.fleet.devices import Listed
from cloud.fleet.selectors import Selector
from cloud.registry import service as registry
from cloud.registry.models import Build
from cloud.rollouts import queries
from cloud.rollouts.models import DevicePin
from cloud.rollouts.planning.waves import Target, Wave, assign
from cloud.rollouts.request import fitting
from cloud.rollouts.request.spec import RolloutCreate, WaveAsked

NAMED_MAX = 5

Found = TypeVar("Found")


@dataclass(frozen=True)
class Meant:
    """What a request comes to now.

    Attributes:
        waves: complete, without those that came to nobody; `assigned` has the device ids of each.
        pinned: devices that would be meant and are left out, for a person has pinned them.
        judged: there are gates, which hold the waves that are gated.
        doubts: what can be meant, and seldom is.
    """

    builds: Sequence[Build]
    devices: Sequence[Listed]
    waves: list[WaveAsked]
    assigned: Sequence[Sequence[str]]
    pinned: Sequence[DevicePin]
    judged: bool
    doubts: list[str]


def meant(
    session: Session, principal: Principal, asked: RolloutCreate, seed: str, now: float
) -> Meant:
    """The builds and devices of a request. `seed` decides who goes first. Raises as `create`."""
    builds = _builds(session, principal, asked)
    groups = fleet.group_selectors(session)
    devices = _selected(session, principal, asked, groups)
    pins = {pin.device_id: pin for pin in queries.pins(session, model=asked.model)}
    pinned = [pins[device.id] for device in devices if device.id in pins]
    devices = [device for device in devices if device.id not in pins]
    if not devices:
        raise InvalidError(
            "selector: every device that is meant is pinned: "
            f"{fitting.some([pin.device_id for pin in pinned])}",
            f"`argosy rollout pins` shows by whom; `argosy rollout unpin DEVICE {asked.model}`",
        )
    assigned = _assigned(asked, devices, seed, groups)
    fitting.check_window(session, asked, devices, now)
    fitting.check_pace(asked, len(devices))
    left = [WaveAsked(count=len(ids)) for ids in assigned[len(asked.waves) :]]
    waves = [*asked.waves, *left]
    some = [number for number, ids in enumerate(assigned) if ids]
    fitting.check_gated(asked, [waves[n] for n in some])
    return Meant(
        builds, devices, [waves[n] for n in some], [assigned[n] for n in some], pinned,
        judged=asked.gates is not None, doubts=fitting.doubts(asked, assigned, now),
    )  # fmt: skip


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
    devices: Sequence[Listed],
    seed: str,
    groups: Mapping[str, Selector],
) -> Sequence[Sequence[str]]:
    """Device ids of each wave. Raises InvalidError where the waves do not fit the devices."""
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
    fitting.check_overlaps(waves, targets, groups)
    assigned = assign(waves, targets, seed, groups)
    fitting.check_sizes(asked, assigned)
    fitting.check_failures(asked, assigned)
    fitting.check_sites(asked, targets, assigned)
    return assigned


def _builds(session: Session, principal: Principal, asked: RolloutCreate) -> list[Build]:
    """The builds to give out, of one version."""
    field = "version" if asked.bundle_digest is None else "bundle_digest"
    _get(
        "model",
        lambda: registry.get_model(session, principal, asked.model),
        "`argosy model list` shows the models",
    )
    if asked.bundle_digest is not None:
        digest = asked.bundle_digest
        found = [_get(field, lambda: registry.get_build(session, principal, digest))]
        if found[0].model != asked.model:
            raise InvalidError(
                f"bundle_digest: that build is of model {found[0].model}, not {asked.model}",
                f"set model to {found[0].model} or name another build",
            )
    else:
        number = asked.version or 0
        version = _get(field, lambda: registry.get_version(session, principal, asked.model, number))
        found = registry.builds_of(session, version)
    if found:
        try:
            registry.check_standing(session, asked.model, found[0].number)
        except ConflictError as error:
            raise ConflictError(f"{field}: {error.message}", error.remedy) from error
    standing = [build for build in found if registry.admitted(build)]
    if not standing:
        raise InvalidError(
            f"{field}: {asked.model} has no build there that is not rejected",
            "name another version, or reinstate the build",
        )
    return standing


def _get(field: str, find: Callable[[], Found], remedy: str = "") -> Found:
    """What `find` finds. Its error names the field which asked for it."""
    try:
        return find()
    except (NotFoundError, ConflictError) as error:
        raise type(error)(f"{field}: {error.message}", remedy or error.remedy) from error


def _selected(
    session: Session, principal: Principal, asked: RolloutCreate, groups: Mapping[str, Selector]
) -> list[Listed]:
    model, wanted = asked.model, named("selector", asked.selector, groups)
    everything = list(fleet.roster(session, principal))
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


def _check_named(model: str, ids: set[str], known: Mapping[str, Listed]) -> None:
    if not ids:
        raise InvalidError("devices: it names none", "name some, or leave it out for all")
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
