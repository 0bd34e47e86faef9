"""What a rollout would bring to whom, said before anything moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry.resolution import BuildOffer, Resolution, resolve, resolve_unheard
from cloud.registry.schemas import ResolutionView
from cloud.rollouts.models import DevicePin
from cloud.rollouts.schemas import BuildPlan, DevicePlan, PinnedPlan, RolloutPlan, WavePlan
from cloud.rollouts.spec import WaveAsked

PLAN_DEVICES_MAX = 1000
"""Named in a plan; the counts are of all."""
ONLINE = "online"


class Fitting:
    """Which of a version's builds devices get, worked out once for devices of one kind."""

    def __init__(self, offers: Sequence[BuildOffer]) -> None:
        self._offers = offers
        self._found: dict[str | None, Resolution] = {None: resolve_unheard(offers)}

    def of(self, device: Device) -> tuple[Resolution, bool]:
        """What the device gets, and whether it has said what it can run."""
        text = fleet.capabilities_text(device)
        found = self._found.get(text)
        if found is None and text is not None:
            found = resolve(self._offers, fleet.capabilities_of(text))
            self._found[text] = found
        return found or self._found[None], text is not None


def plan(
    version: tuple[str, int],
    offers: Sequence[BuildOffer],
    waves: Sequence[WaveAsked],
    placed: Iterable[tuple[Device, int]],
    *,
    pinned: Sequence[DevicePin] = (),
) -> RolloutPlan:
    """The plan of a version (model, number) for devices, each with its wave; pins leave some out.

    The first PLAN_DEVICES_MAX devices are named, those without a build before the others.
    """
    fitting = Fitting(offers)
    by_wave = [WavePlan(**wave.model_dump(include=_WAVE_FIELDS)) for wave in waves]
    labels = {offer.digest: offer.identity.label() for offer in offers}
    by_build: dict[str, BuildPlan] = {}
    lines: list[tuple[bool, int, str, Resolution, bool]] = []
    for device, number in placed:
        found, heard = fitting.of(device)
        wave = by_wave[number]
        wave.devices += 1
        wave.no_artifact += found.best is None
        wave.unheard += not heard
        wave.offline += device.presence != ONLINE
        if found.best is not None:
            empty = BuildPlan(digest=found.best, target=labels[found.best])
            by_build.setdefault(found.best, empty).devices += 1
        lines.append((found.best is not None, number, device.id, found, heard))
    lines.sort(key=lambda line: line[:3])
    return RolloutPlan(
        model=version[0],
        version=version[1],
        count=len(lines),
        no_artifact=sum(wave.no_artifact for wave in by_wave),
        unheard=sum(wave.unheard for wave in by_wave),
        offline=sum(wave.offline for wave in by_wave),
        waves=by_wave,
        builds=sorted(by_build.values(), key=lambda build: (-build.devices, build.digest)),
        pinned_count=len(pinned),
        pinned=[
            PinnedPlan(device=pin.device_id, **pin.model_dump(include=_PIN_FIELDS))
            for pin in pinned[:PLAN_DEVICES_MAX]
        ],
        devices=[
            DevicePlan(
                wave=number, **ResolutionView.of(device_id, found, offers, heard=heard).model_dump()
            )
            for _, number, device_id, found, heard in lines[:PLAN_DEVICES_MAX]
        ],
    )


_WAVE_FIELDS = {"percent", "count", "selector", "needs_approval", "gated"}
_PIN_FIELDS = {"digest", "version", "by", "remark"}
