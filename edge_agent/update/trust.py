"""Whether a bundle may be trusted: one pure function, asked wherever a bundle is taken on.

It is asked before a bundle is downloaded, before it is placed, before it is exchanged, when
the agent starts, and when somebody goes back by hand. It takes the manifest's bytes and what
the device knows, does no IO and raises nothing. That each file is the one that the manifest
names is for whoever holds the files (`BundleStore.verify`): the manifest's digest vouches for
all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from protocol.builds import Capabilities, match
from protocol.bundles import MANIFEST_BYTES_MAX, Manifest, read_manifest
from protocol.errors import DigestError, ProtocolError


class Refusal(str, Enum):
    """Why a bundle is not taken."""

    DIGEST = "digest"
    MALFORMED = "malformed"
    PROMISE = "promise"
    FIT = "fit"
    SIZE = "size"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Claim:
    """What is said of a bundle beforehand.

    Attributes:
        digest: its name, the sha256 of its canonical manifest.
        model, version: what the hub promised; None where nothing was, as at a start.
    """

    digest: str
    model: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class Facts:
    """What the device knows.

    Attributes:
        capabilities: what it can run; None where that is not asked: it ran before.
        bundle_bytes_max: the largest bundle that it takes.
        floors: by model the lowest version that may serve.
    """

    capabilities: Capabilities | None
    bundle_bytes_max: int
    floors: Mapping[str, int]


@dataclass(frozen=True)
class Accepted:
    """The bundle may be taken."""

    manifest: Manifest


@dataclass(frozen=True)
class Refused:
    """The bundle may not be taken; `reason` says why in words."""

    refusal: Refusal
    reason: str


def judge(
    manifest_bytes: bytes,
    claim: Claim,
    facts: Facts,
    now: float,  # noqa: ARG001 - Unix time (s); nothing that is judged yet expires
) -> Accepted | Refused:
    """Whether the bundle of this manifest may be taken on by this device."""
    if len(manifest_bytes) > MANIFEST_BYTES_MAX:
        size = len(manifest_bytes)
        return Refused(Refusal.SIZE, f"a manifest of {size} bytes is over {MANIFEST_BYTES_MAX}")
    try:
        manifest = read_manifest(manifest_bytes, claim.digest)
    except DigestError as error:
        return Refused(Refusal.DIGEST, str(error))
    except ProtocolError as error:
        return Refused(Refusal.MALFORMED, str(error))
    for check in (_promise(manifest, claim), _fit(manifest, facts), _size(manifest, facts)):
        if check is not None:
            return check
    return below_floor(manifest.model, manifest.version, facts.floors) or Accepted(manifest)


def below_floor(model: str, version: int, floors: Mapping[str, int]) -> Refused | None:
    """The refusal of a version that may serve no more; None where it may."""
    floor = floors.get(model, 1)
    if version >= floor:
        return None
    return Refused(
        Refusal.REVOKED, f"{model} v{version} is revoked: nothing below v{floor} may serve"
    )


def _promise(manifest: Manifest, claim: Claim) -> Refused | None:
    found = f"the bundle is {manifest.model} v{manifest.version}"
    if claim.model not in (None, manifest.model) or claim.version not in (None, manifest.version):
        text = f"{found}, desired is {claim.model} v{claim.version}"
        return Refused(Refusal.PROMISE, text)
    return None


def _fit(manifest: Manifest, facts: Facts) -> Refused | None:
    if facts.capabilities is None:
        return None
    fit = match(manifest.build, facts.capabilities)
    return None if fit.fits else Refused(Refusal.FIT, "; ".join(fit.reasons))


def _size(manifest: Manifest, facts: Facts) -> Refused | None:
    if manifest.size_bytes <= facts.bundle_bytes_max:
        return None
    text = f"the bundle has {manifest.size_bytes} bytes; limits.bundle_bytes_max is "
    return Refused(Refusal.SIZE, f"{text}{facts.bundle_bytes_max}")
