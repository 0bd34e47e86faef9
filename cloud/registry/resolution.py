"""Which build of a version a device gets. Pure.

The figures of two builds compare only on like machines, so the kind of runtime comes first:
an engine for the device's own GPU, a runtime on its GPU, its CPU. Within a kind the measured
latency decides, and where none was measured, how narrow the numbers are that it computes in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from protocol.builds import BuildIdentity, Capabilities, Format, Precision, match

_KINDS = {"tensorrt": 0, "onnxruntime-tensorrt": 1, "onnxruntime-cuda": 2}
_CPU_KIND = len(_KINDS)
_NARROWNESS = {Precision.INT8: 0, Precision.BF16: 1, Precision.FP16: 1, Precision.FP32: 2}


@dataclass(frozen=True)
class BuildOffer:
    """A build as it may be given out.

    Attributes:
        admitted: neither its evaluation nor a person has rejected it.
        revoked: its version is below the model's floor.
        latency_ms: of one frame; None where it was not measured. Comparable within a kind of
            runtime only.
        map50: of its evaluation as shipped; None where there is none.
        bundle_format: version of the bundle format that the device must read.
    """

    digest: str
    identity: BuildIdentity
    admitted: bool = True
    revoked: bool = False
    latency_ms: float | None = None
    map50: float | None = None
    bundle_format: int = 1


@dataclass(frozen=True)
class Resolution:
    """What a device gets.

    Attributes:
        best: digest of the build to run; None where there is none (NO_ARTIFACT).
        fallbacks: digests of the others that would run, the next best first.
        refused: digest → why not, for every other build.
        reason: in words, why this one, or why none.
    """

    best: str | None
    fallbacks: tuple[str, ...] = ()
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reason: str = ""


def resolve(builds: Sequence[BuildOffer], device: Capabilities) -> Resolution:
    """The best build for `device`, whatever the order of `builds`."""
    refused = {offer.digest: reasons for offer in builds if (reasons := _against(offer, device))}
    fitting = sorted((o for o in builds if o.digest not in refused), key=_order)
    return _resolution(builds, fitting, refused)


def resolve_unheard(builds: Sequence[BuildOffer]) -> Resolution:
    """The build for a device that never said what it can run: the one that asks least of it,
    for the device judges for itself once it has it."""
    refused = {offer.digest: reasons for offer in builds if (reasons := _barred(offer))}
    fitting = sorted((o for o in builds if o.digest not in refused), key=_demands)
    return _resolution(builds, fitting, refused)


def _resolution(
    builds: Sequence[BuildOffer],
    fitting: Sequence[BuildOffer],
    refused: Mapping[str, tuple[str, ...]],
) -> Resolution:
    if not fitting:
        labels = {offer.digest: offer.identity.label() for offer in builds}
        said = sorted(f"{labels[d]} {'; '.join(reasons)}" for d, reasons in refused.items())
        return Resolution(None, (), refused, " | ".join(said) or "there is no build")
    digests = tuple(offer.digest for offer in fitting)
    best = fitting[0]
    reason = best.identity.label()
    if best.latency_ms is not None:
        reason += f", {best.latency_ms:.3g} ms where it was measured"
    return Resolution(digests[0], digests[1:], refused, reason)


def _against(offer: BuildOffer, device: Capabilities) -> tuple[str, ...]:
    fit = match(offer.identity, device, bundle_format=offer.bundle_format)
    return (*_barred(offer), *fit.reasons)


def _barred(offer: BuildOffer) -> tuple[str, ...]:
    barred = () if offer.admitted else ("is rejected",)
    return (*barred, "is revoked by the model's floor") if offer.revoked else barred


def _order(offer: BuildOffer) -> tuple[int, float, int, float, str]:
    identity = offer.identity
    kind = 0 if identity.format is Format.TENSORRT else _KINDS.get(identity.runtime, _CPU_KIND)
    return (
        kind,
        math.inf if offer.latency_ms is None else offer.latency_ms,
        _NARROWNESS[identity.runtime_precision],
        -(offer.map50 or 0.0),
        offer.digest,
    )


def _demands(offer: BuildOffer) -> tuple[bool, bool, bool, tuple[int, float, int, float, str]]:
    identity = offer.identity
    return (
        identity.runtime != "onnxruntime",
        bool(identity.cpu_flags_any or identity.cpu_flags_none),
        identity.runtime_precision is not Precision.FP32,
        _order(offer),
    )
