"""Going back by hand without a running agent: on the data folder alone.

What the running agent does with a request is `Updater.leave_by_hand` and `Exchange.go_back`;
this comes to the same on the disk. Nothing is fetched and nothing is loaded: the bundle that
served before is read byte by byte, and must be one that may still serve.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge_agent.config import Limits
from edge_agent.errors import EdgeError
from edge_agent.store import Store, StoreError
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.exchange import turned_to
from edge_agent.update.floors import FLOORS, Floors
from edge_agent.update.history import hear, turn_number
from edge_agent.update.slot_state import slot_state
from edge_agent.update.standing import ON_TRIAL, objection
from edge_agent.update.states import (
    BY_HAND,
    Committed,
    Outcome,
    UpdateRecord,
    committed_name,
    moved,
    record_name,
)
from edge_agent.update.trust import Claim, Facts, Refused, judge
from edge_agent.update.turned import DONE, Turned
from protocol.bundles import MANIFEST_BYTES_MAX, MANIFEST_PATH
from protocol.errors import ProtocolError
from protocol.states import BEFORE_EXCHANGE, ExecutionEvent, ExecutionState


class NoWayBackError(EdgeError):
    """There is nothing that a slot could go back to; the text says why and what to do."""


@dataclass(frozen=True)
class WentBack:
    """What going back came to: the digest that serves at the next start, and words for it. The hub
    hears of it when the agent runs again: from the attempt's record, or from what is committed."""

    digest: str
    text: str


def given_up(slot: str, record: UpdateRecord | None) -> str:
    """What is said where a rollback gave up an attempt that had exchanged nothing."""
    name = "" if record is None else f" of {record.desired.model} v{record.desired.version}"
    return (
        f"{slot}: the update{name} was given up, and what serves stays; "
        "ask again to go back to what served before it"
    )


def alone(record: UpdateRecord | None) -> str:
    """Why the first that comes to serve a slot is not given up."""
    name = "it" if record is None else f"{record.desired.model} v{record.desired.version}"
    return (
        f"nothing has served before {name}; `argosy-agent hold` keeps it waiting, or roll another "
        "version out"
    )


def way_back(slot: str, committed: Committed | None, record: UpdateRecord | None) -> str | None:
    """The digest to go back to, or None where the next start goes back by itself.

    Raises:
        NoWayBackError: nothing served before, or an update is just being committed.
    """
    if record is not None and committed is not None and record.state in ON_TRIAL:
        return None
    if record is not None and record.state is ExecutionState.COMMITTING:
        raise NoWayBackError(
            f"{slot}: an update was being committed when the agent ended; start the agent, "
            "and ask again"
        )
    if committed is None:
        raise NoWayBackError(f"{slot} has served nothing yet; wait for its first update")
    if committed.previous_digest is None:
        raise NoWayBackError(
            f"{slot} has served nothing before {committed.digest[:12]}; roll an earlier "
            "version out from the hub"
        )
    return committed.previous_digest


def go_back(
    slot: str, store: Store, limits: Limits, wall: float, *, force: bool = False
) -> WentBack:
    """Go back by one step. The store is open, so no agent runs.

    An attempt that had exchanged nothing yet is that step: it is over with this, what serves
    stays, and the hub hears of it from the record when the agent runs again. Else what the slot
    served before is committed.

    Raises:
        NoWayBackError: there is nothing to go back to, it may not serve any more, or, without
            `force`, it was left by hand or did not stand its last attempt.
        StoreError: the disk refused.
    """
    state = slot_state(slot, store)
    committed, record = state.committed, state.record
    if record is not None and record.state in BEFORE_EXCHANGE:
        if committed is None:
            raise NoWayBackError(f"{slot}: {alone(record)}")
        event, outcome = ExecutionEvent.CANCEL_REQUESTED, Outcome(reason=BY_HAND)
        with _kept(store):
            ended = moved(_left(record), event, outcome, wall, record.spent_s)
            store.save(record_name(slot), ended)
        return WentBack(committed.digest, given_up(slot, record))
    back_to = way_back(slot, committed, record)
    if committed is None or back_to is None:
        if record is not None:
            with _kept(store):
                store.save(record_name(slot), _left(record))
        digest = "" if committed is None else committed.digest
        name = BundleStore(store.bundles).name(digest) if digest else "nothing"
        text = f"{slot}: an update was on probation; the next start goes back to {name}"
        return WentBack(digest, text)
    name = _proven(slot, back_to, store, limits, wall)
    if not force and (why := objection(state, BundleStore(store.bundles).name)):
        raise NoWayBackError(f"{slot}: {why}")
    text = f"{slot}: {name} ({back_to[:12]}) serves from the next start on"
    turn = Turned(
        number=turn_number(slot, store, wall),
        at=wall,
        alert=DONE,
        text=text,
        serves=back_to,
        left=committed.digest,
        by_hand=True,
    )
    with _kept(store):
        store.save(committed_name(slot), turned_to(committed, turn))
    hear(slot, store)
    return WentBack(back_to, text)


def _left(record: UpdateRecord) -> UpdateRecord:
    return record.model_copy(update={"left": True})


@contextmanager
def _kept(store: Store) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write to {store.state}: {error.strerror}; make room there"
        ) from error


def _proven(slot: str, digest: str, store: Store, limits: Limits, wall: float) -> str:
    """Its model and version, after its bytes and its floor were looked at."""
    bundles = BundleStore(store.bundles, store.compiled)
    try:
        bundles.verify(digest, to_serve=True)
        with (bundles.path(digest) / MANIFEST_PATH).open("rb") as file:
            raw = file.read(MANIFEST_BYTES_MAX + 1)
    except (EdgeError, ProtocolError, OSError) as error:
        raise NoWayBackError(
            f"{slot}: what served before cannot serve again: {error}; roll it out from the hub"
        ) from error
    floors = store.load(FLOORS, Floors) or Floors()
    facts = Facts(None, limits.bundle_bytes_max, floors.by_model())
    judged = judge(raw, Claim(digest), facts, wall)
    if isinstance(judged, Refused):
        raise NoWayBackError(
            f"{slot}: {judged.reason}; roll a version that may serve out from the hub"
        )
    return f"{judged.manifest.model} v{judged.manifest.version}"
