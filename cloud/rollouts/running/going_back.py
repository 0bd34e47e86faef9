"""What a device would go back to, where its rollout is taken back."""

from __future__ import annotations

from sqlmodel import Session

from cloud.registry import service as registry
from cloud.registry.models import Build
from protocol.messages import SlotDesired

NOTHING_BEFORE = "nothing was desired before"


class WayBack:
    """Builds that devices had, and whether they may serve again; each is looked up once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._against: dict[tuple[str, str, int], str] = {}

    def of(self, before: str | None) -> tuple[str | None, str]:
        """Digest of the build, and what stands against it ("" where nothing does).

        before: what the slot desired, as JSON text.
        """
        if before is None:
            return None, NOTHING_BEFORE
        slot = SlotDesired.model_validate_json(before)
        key = (slot.bundle_digest, slot.model, slot.version)
        if key not in self._against:
            self._against[key] = against(self._session, slot)
        return slot.bundle_digest, self._against[key]


def against(session: Session, slot: SlotDesired) -> str:
    """Why the build that a slot desired may not serve again; "" where it may."""
    name = f"{slot.model} v{slot.version}"
    if slot.version < registry.floor(session, slot.model):
        return f"{name}, which was before, is below the model's floor"
    build = session.get(Build, slot.bundle_digest)
    if build is None:
        return f"{name}, which was before, has been deleted"
    return "" if registry.admitted(build) else f"{name}, which was before, has been rejected"
