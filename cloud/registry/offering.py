"""From the registry's rows to what `resolution` decides on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from cloud.access.principal import Principal
from cloud.fleet import service as fleet
from cloud.registry.models import Build, ModelVersion
from cloud.registry.reading import admitted, builds_of, floor, get_version
from cloud.registry.resolution import BuildOffer, Resolution, resolve, resolve_unheard
from protocol.builds import BuildIdentity
from protocol.bundles import FORMAT_VERSION


def offers(session: Session, version: ModelVersion) -> list[BuildOffer]:
    """Every build of a version, with what stands against it."""
    lowest = floor(session, version.model)
    return [offer(build, lowest) for build in builds_of(session, version)]


def offer(build: Build, lowest: int) -> BuildOffer:
    """One build; `lowest` is its model's floor."""
    return BuildOffer(
        digest=build.digest,
        identity=BuildIdentity.model_validate(build.identity),
        admitted=admitted(build),
        revoked=build.number < lowest,
        latency_ms=_figure(build.metrics, "latency_ms_median"),
        map50=_figure(build.metrics, "map50"),
        bundle_format=FORMAT_VERSION,
    )


def resolve_for(
    session: Session, principal: Principal, model: str, number: int, device_id: str
) -> tuple[Resolution, Sequence[BuildOffer], bool]:
    """What a device gets of a version, the builds in question, and whether it was heard of.

    Raises:
        NotFoundError: there is no such version or device.
    """
    version = get_version(session, principal, model, number)
    reported = fleet.reported(fleet.get_device(session, principal, device_id))
    given = offers(session, version)
    if reported is None:
        return resolve_unheard(given), given, False
    return resolve(given, reported.capabilities), given, True


def _figure(metrics: dict[str, Any], name: str) -> float | None:
    value = metrics.get(name)
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None
