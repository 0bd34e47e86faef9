"""Asks `trust` about bundles: gathers the bytes and what the device knows at this moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_agent.config import Limits
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.states import Outcome, refusal_event
from edge_agent.update.trust import Accepted, Claim, Facts, Refusal, Refused, below_floor, judge
from protocol.builds import Capabilities
from protocol.bundles import MANIFEST_BYTES_MAX, MANIFEST_PATH
from protocol.messages import SlotDesired
from protocol.states import ExecutionState


@dataclass(frozen=True)
class Judging:
    """What judgements need of the device; all slots share it, and any thread may ask.

    Attributes:
        floors: by model the lowest version that may serve.
        wall: Unix time (s).
    """

    bundles: BundleStore
    limits: Limits
    capabilities: Callable[[], Capabilities]
    floors: Callable[[], Mapping[str, int]]
    wall: Callable[[], float]

    def of(self, manifest_bytes: bytes, desired: SlotDesired) -> Accepted | Refused:
        """Whether what came for `desired` may be taken on."""
        claim = Claim(desired.bundle_digest, desired.model, desired.version)
        facts = Facts(self.capabilities(), self.limits.bundle_bytes_max, self.floors())
        return judge(manifest_bytes, claim, facts, self.wall())

    def held(self, digest: str) -> Accepted | Refused:
        """Whether a bundle on the disk that served before may be loaded again.

        What it can run the device need not be asked: it ran it. Raises OSError where the
        manifest cannot be read.
        """
        facts = Facts(None, self.limits.bundle_bytes_max, self.floors())
        return judge(self.manifest_bytes(digest), Claim(digest), facts, self.wall())

    def promised(self, desired: SlotDesired) -> Refused | None:
        """Whether a version that the hub promises has been revoked; asks no disk."""
        return below_floor(desired.model, desired.version, self.floors())

    def manifest_bytes(self, digest: str) -> bytes:
        """The manifest of a bundle on the disk, bounded. Raises OSError."""
        with (self.bundles.path(digest) / MANIFEST_PATH).open("rb") as file:
            return file.read(MANIFEST_BYTES_MAX + 1)


def refused(answer: Refused, state: ExecutionState) -> Outcome:
    """What a refusal means for an attempt in `state`."""
    event = refusal_event(state, answer.refusal is not Refusal.FIT)
    return Outcome(event, answer.reason)
