"""Who alone may act on rollouts: a lease in the database.

Whoever acts holds it in the same transaction, so that two engines never act on one state. It
stays with its last owner when it has run out, until another one takes it: an owner that finds
its own name there has missed nothing that another engine did.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from cloud.fleet import service as fleet
from cloud.rollouts import queries
from cloud.rollouts.models import Lease

NAME = "rollouts"


class LeaseLost(Exception):  # noqa: N818 - nothing is wrong: another engine leads
    """Another engine has led since this one looked."""


@dataclass(frozen=True)
class Term:
    """The lease as it was seen."""

    owner: str
    expires_at: float


class Candidate:
    """Decides whether an engine may take the lease that another one had.

    One that leads prolongs it while a rollout is under way, and writes nothing at rest: then its
    lease runs out, and that alone says nothing. That it leaves changes of devices unread does.
    """

    def __init__(self, owner: str, lease_s: float) -> None:
        self._owner, self._lease_s = owner, lease_s
        self._has_led = False
        self._unread: str | None = None
        self._unread_since = 0.0

    def may_lead(self, session: Session, term: Term | None, now: float) -> bool:
        """Whether to take the lease, or go on having it."""
        if term is None or term.owner == self._owner:
            self._has_led = True
            return True
        if term.expires_at > now:
            return False
        # An engine that has just begun takes over from one that may have been killed in a step.
        if not self._has_led or queries.is_any_under_way(session):
            return True
        return self._are_changes_left(session, now)

    def _are_changes_left(self, session: Session, now: float) -> bool:
        unread = next(iter(fleet.changed(session, 1)), None)
        if unread != self._unread:
            self._unread, self._unread_since = unread, now
        return unread is not None and now - self._unread_since > self._lease_s


def seen(session: Session) -> Term | None:
    """The lease as it is; None where nobody ever had it."""
    row = session.get(Lease, NAME)
    return None if row is None else Term(row.owner, row.expires_at)


def hold(session: Session, owner: str, now: float, lease_s: float, looked_at: Term | None) -> Term:
    """Have the right to act until this transaction ends, and prolong it where half is over.

    Raises LeaseLost where it is not as it was `looked_at`, unless it is the owner's own.
    """
    row = session.get(Lease, NAME, with_for_update=True)
    found = None if row is None else Term(row.owner, row.expires_at)
    mine = found is not None and found.owner == owner
    if not mine and (found != looked_at or (found is not None and found.expires_at > now)):
        raise LeaseLost
    if found is not None and mine and found.expires_at - now > lease_s / 2:
        return found
    row = row or Lease(name=NAME, owner=owner, expires_at=now)
    row.owner, row.expires_at = owner, now + lease_s
    session.add(row)
    session.flush()
    return Term(owner, row.expires_at)
