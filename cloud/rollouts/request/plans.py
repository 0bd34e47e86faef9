"""What a rollout would bring to whom, said before anything moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cloud.fleet import service as fleet
from cloud.registry.resolution import BuildOffer, Resolution, resolve, resolve_unheard
from cloud.registry.schemas import ResolutionView
from cloud.rollouts.models import DevicePin
from cloud.rollouts.request.spec import WaveAsked
from cloud.rollouts.schemas import BuildPlan, DevicePlan, PinnedPlan, RolloutPlan, WavePlan

PLAN_DEVICES_MAX = 1000
"""Named in a plan; the counts are of all."""
ONLINE = "online"


class Placed(NamedTuple):
    """A device that is meant.

    capabilities: what it can run, as a text of `fleet.capability_texts`.
    """

    device_id: str
    wave: int
    presence: str
    capabilities: str | None


class Fitting:
    """Which of a version's builds devices get, worked out once for devices of one kind."""

    def __init__(self, offers: Sequence[BuildOffer]) -> None:
        self._offers = offers
        self._found: dict[str | None, Resolution] = {None: resolve_unheard(offers)}

    def of(self, text: str | None) -> Resolution:
        """What a device with these capabilities gets."""
        found = self._found.get(text)
        if found is None:
            known = fleet.capabilities_of(text or "")
            found = self._found[text] = resolve(self._offers, known)
        return found


def plan(
    version: tuple[str, int],
    offers: Sequence[BuildOffer],
    waves: Sequence[WaveAsked],
    placed: Iterable[Placed],
    *,
    pinned: Sequence[DevicePin] = (),
    judged: bool = False,
    doubts: Sequence[str] = (),
) -> RolloutPlan:
    """The plan of a version (model, number) for devices, each with its wave; pins leave some out.

    judged, doubts: see `Meant`.

    The first PLAN_DEVICES_MAX devices are named, those without a build before the others.
    """
    fitting = Fitting(offers)
    labels = {offer.digest: offer.identity.label() for offer in offers}
    counts = [Counter[str]() for _ in waves]
    digests: Counter[str] = Counter()
    lines: list[tuple[bool, int, str, Resolution, bool]] = []
    for device in placed:
        found, heard = fitting.of(device.capabilities), device.capabilities is not None
        count = counts[device.wave]
        count["devices"] += 1
        if found.best is None:
            count["no_artifact"] += 1
        else:
            digests[found.best] += 1
        if not heard:
            count["unheard"] += 1
        if device.presence != ONLINE:
            count["offline"] += 1
        lines.append((found.best is not None, device.wave, device.device_id, found, heard))
    total = sum(counts, start=Counter[str]())
    lines.sort(key=lambda line: line[:3])
    return RolloutPlan(
        model=version[0],
        version=version[1],
        count=len(lines),
        no_artifact=total["no_artifact"],
        unheard=total["unheard"],
        offline=total["offline"],
        waves=[
            _wave(wave, count, judged=judged) for wave, count in zip(waves, counts, strict=True)
        ],
        builds=[
            BuildPlan(digest=digest, target=labels[digest], devices=devices)
            for digest, devices in sorted(digests.items(), key=lambda item: (-item[1], item[0]))
        ],
        doubts=list(doubts),
        pinned_count=len(pinned),
        pinned=[_pinned(pin) for pin in pinned[:PLAN_DEVICES_MAX]],
        devices=[
            DevicePlan(
                wave=number, **ResolutionView.of(device_id, found, offers, heard=heard).model_dump()
            )
            for _, number, device_id, found, heard in lines[:PLAN_DEVICES_MAX]
        ],
    )


def _wave(wave: WaveAsked, count: Counter[str], *, judged: bool) -> WavePlan:
    asked = wave.model_dump(include=_WAVE_FIELDS)
    return WavePlan(gated=judged and wave.gated, **asked, **count)


def _pinned(pin: DevicePin) -> PinnedPlan:
    return PinnedPlan(device=pin.device_id, **pin.model_dump(include=_PIN_FIELDS))


_WAVE_FIELDS = {"percent", "count", "selector", "needs_approval"}
_PIN_FIELDS = {"digest", "version", "by", "remark"}
