"""What of a wave's gate is counted and not estimated: starts, words of people, shadows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloud.promotion.gate import Finding
from cloud.rollouts.gating.component import Component
from cloud.rollouts.gating.evidence import DeviceEvidence
from cloud.rollouts.gating.policy import GatePolicy

KINDS = frozenset({"restarts", "overrides", "shadow"})
TOLD_MAX = 3
_AGREEMENT, _SEEN = "shadow_agreement", "shadow_detections"


def count(devices: Sequence[DeviceEvidence], policy: GatePolicy) -> Iterable[Component]:
    """Restarts, overrides and shadow agreement of the wave's devices, as components."""
    yield _restarts(devices, policy)
    yield _overrides(devices, policy)
    yield _shadow(devices, policy)


def _restarts(devices: Sequence[DeviceEvidence], policy: GatePolicy) -> Component:
    most = max((device.starts for device in devices), default=0)
    over = [d for d in devices if d.starts > policy.restarts_max]
    names = _named([f"{d.device_id} ({d.starts})" for d in over])
    return Component(
        "restarts",
        "restarts",
        Finding.HARM if over else Finding.HOLDS,
        f"more than {policy.restarts_max} starts since the update began: {names}"
        if over
        else f"at most {most} of a device, allowed are {policy.restarts_max}",
        after=float(most),
        margin=float(policy.restarts_max),
    )


def _overrides(devices: Sequence[DeviceEvidence], policy: GatePolicy) -> Component:
    said = [f"{d.device_id} ({d.overridden})" for d in devices if d.overridden]
    return Component(
        "overrides",
        "overrides",
        Finding.HARM if len(said) > policy.overrides_max else Finding.HOLDS,
        (f"somebody decided against it at {_named(said)}" if said else "nobody overrode it")
        + f"; allowed are {policy.overrides_max}",
        after=float(len(said)),
        margin=float(policy.overrides_max),
    )


def _shadow(devices: Sequence[DeviceEvidence], policy: GatePolicy) -> Component:
    """Agreement of all detections together: a device's own share was judged by the device."""
    ran = [d.shadow for d in devices if _AGREEMENT in d.shadow and d.shadow.get(_SEEN, 0) > 0]
    seen = sum(figures[_SEEN] for figures in ran)
    if seen < policy.detections_min:
        reason = f"{seen:.0f} detections in shadow are fewer than {policy.detections_min}"
        return Component("shadow", "shadow", Finding.REPORTED, f"{reason}: not judged", after=seen)
    share = sum(figures[_AGREEMENT] * figures[_SEEN] for figures in ran) / seen
    holds = share >= policy.shadow_agreement_min
    return Component(
        "shadow",
        "shadow",
        Finding.HOLDS if holds else Finding.HARM,
        f"both builds agree in {share:.3f} of {seen:.0f} detections of {len(ran)} devices, "
        f"{policy.shadow_agreement_min:g} are needed",
        after=share,
        margin=policy.shadow_agreement_min,
        cameras=0,
    )


def _named(words: Sequence[str]) -> str:
    more = f" and {len(words) - TOLD_MAX} more" if len(words) > TOLD_MAX else ""
    return ", ".join(words[:TOLD_MAX]) + more
