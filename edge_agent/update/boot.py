"""What a slot serves right after a start: from disk, offline too, before anything else.

Which may, and which comes first, `standing` says: what was committed, where it is damaged,
revoked, or has ended the agent too often, the one before it, and where neither can, another that
is proven on this device. A revoked one serves only where nothing else can: a blind line helps
nobody, and the hub is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.errors import BundleError, EdgeError
from edge_agent.store import Store
from edge_agent.update.boot_guard import BootGuard
from edge_agent.update.judging import Judging
from edge_agent.update.load import Loader
from edge_agent.update.slot_state import SlotState, slot_state
from edge_agent.update.standing import choices, turns
from edge_agent.update.start_note import note_start
from edge_agent.update.states import Committed, UpdateRecord, committed_name
from edge_agent.update.trust import Refusal, Refused
from protocol.errors import ProtocolError

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Trouble:
    """What went wrong at a start, as an alert."""

    name: str
    text: str


class Boot:
    """Loads what one slot serves at a start. Used by the agent's thread."""

    def __init__(self, slot: str, store: Store, judging: Judging, loader: Loader) -> None:
        self._slot, self._store, self._judging, self._loader = slot, store, judging, loader
        limits = judging.limits
        self.guard = BootGuard(slot, store, limits.boot_starts_max)
        self._troubles: list[Trouble] = []
        self._revoked: list[str] = []
        self._passed: list[str] = []
        self._why: dict[str, str] = {}
        self.passed_over = False

    def load(self) -> tuple[LoadedBundle | None, list[Trouble]]:
        """The bundle to serve, read byte by byte and loaded, and what was wrong on the way.

        `passed_over` says afterwards that one was left out because it had its starts. One
        that is damaged is set aside, so that its bad files are fetched again.
        """
        self._troubles, self._revoked, self._passed, self._why = [], [], [], {}
        self.passed_over = False
        state = slot_state(self._slot, self._store)
        found = self._first(choices(state, self._held()), self._trusted) or self._alone()
        said = "" if found is None else self._tell_of(found, state)
        digest, why = None if found is None else found.digest, tuple(self._why.values())
        note_start(self._store, self._slot, digest, (*why, said) if said else why)
        return found, self._troubles

    def able(self) -> tuple[str, ...]:
        """What could serve by what is known without reading it: it lies on the disk, is not known
        to be damaged, and has not had its starts."""
        held = self._held()
        if not held:
            return ()  # as before the first update, at every tick
        state, damaged = slot_state(self._slot, self._store), self._judging.bundles.damaged()
        return tuple(
            digest
            for digest in choices(state, held)
            if digest in held and digest not in damaged and not self.guard.spent(digest)
        )

    def turns(self) -> tuple[str, ...]:
        """What could take over by itself from a bundle that is revoked, the preferred one first:
        it is on the disk, not known to be damaged, not revoked, and did not end the agent."""
        bundles, state = self._judging.bundles, slot_state(self._slot, self._store)
        try:
            held = set(self._held()) - set(bundles.damaged())
            able = [d for d in turns(state, held) if d in held and self._outlived(d)]
            return tuple(d for d in able if not isinstance(self._judging.held(d), Refused))
        except OSError as error:
            log.warning("bundles_unreadable", slot=self._slot, error=str(error))
            return ()

    def is_committed(self, record: UpdateRecord | None) -> bool:
        """Whether an attempt brings what is committed."""
        committed = self._store.load(committed_name(self._slot), Committed)
        wanted = None if record is None else record.desired.bundle_digest
        return committed is not None and committed.digest == wanted

    def returned(self, running: str) -> tuple[str, ...]:
        """What was committed, where `running` stands in for it and it may serve by now."""
        # Asked every few seconds: nearly always this one small file says all.
        committed = self._store.load(committed_name(self._slot), Committed)
        if committed is None or committed.digest == running:
            return ()
        digest = committed.digest
        try:
            able = digest in self.able() and self._outlived(digest)
            return (digest,) if able and not isinstance(self._judging.held(digest), Refused) else ()
        except OSError as error:
            log.warning("bundles_unreadable", slot=self._slot, error=str(error))
            return ()

    def why_not(self, digest: str) -> str:
        """Why a bundle was passed over by the last `load`, in words; "" where it was not."""
        return self._why.get(digest, "")

    def _outlived(self, digest: str) -> bool:
        """Whether it may be loaded beside what serves: not where this start passed it over because
        it had ended the agent, though that is forgotten once the agent has lived on, nor where it
        had its starts."""
        return digest not in self._passed and not self.guard.spent(digest)

    def _held(self) -> list[str]:
        try:
            return self._judging.bundles.digests()
        except OSError as error:
            log.warning("bundles_unreadable", slot=self._slot, error=str(error))
            return []

    def _tell_of(self, found: LoadedBundle, state: SlotState) -> str:
        """What is to be said of who serves, as an alert and with the reasons; "" for nothing."""
        name = f"{found.manifest.model} v{found.manifest.version}"
        if found.digest in self._revoked:
            return self._trouble("revoked", f"{name} serves: there is no other")
        if found.digest in choices(state):
            return ""
        lacks = "nothing is committed, and it is"
        if state.committed is not None:
            lacks = "what was committed and what served before it cannot; this is"
        return self._trouble(
            "last_resort", f"{name} serves as a last resort: {lacks} proven on this device"
        )

    def _alone(self) -> LoadedBundle | None:
        """Nothing serves yet: what is revoked may, and what had its starts has more of them, who
        had fewer first."""
        found = self._first(self._revoked, lambda _digest: True)
        passed = sorted(self._passed, key=self.guard.starts)
        return found or self._first(passed, lambda _digest: True, alone=True)

    def _first(
        self, digests: Iterable[str], allowed: Callable[[str], bool], *, alone: bool = False
    ) -> LoadedBundle | None:
        for digest in tuple(digests):
            try:
                if self._whole(digest) and allowed(digest):
                    loaded = self._load(digest, alone=alone)
                    if loaded is not None:
                        return loaded
            except (EdgeError, ProtocolError, OSError) as error:
                self._pass_over("bundle_not_served", digest, str(error))
        return None

    def _whole(self, digest: str) -> bool:
        bundles = self._judging.bundles
        if digest in bundles.damaged():
            text = f"bundle {digest[:12]} is damaged, and not repaired yet"
            self._pass_over("bundle_not_served", digest, text)
            return False
        try:
            bundles.verify(digest, to_serve=True)
        except BundleError as error:
            self._pass_over("bundle_not_served", digest, str(error))
            bundles.set_aside(digest)
            return False
        return True

    def _trusted(self, digest: str) -> bool:
        answer = self._judging.held(digest)
        if not isinstance(answer, Refused):
            return True
        if answer.refusal is Refusal.REVOKED:
            self._revoked.append(digest)
        self._pass_over("bundle_not_served", digest, answer.reason)
        return False

    def _load(self, digest: str, *, alone: bool) -> LoadedBundle | None:
        if not self.guard.enter(digest, alone=alone):
            self.passed_over = True
            if alone:
                return None
            self._passed.append(digest)
            text = f"bundle {digest[:12]} ended the agent at each start"
            self._pass_over("boot_loop", digest, text)
            return None
        try:
            return self._loader.at_once(digest)
        except (EdgeError, ProtocolError, OSError):
            self.guard.withdraw()
            raise

    def _pass_over(self, name: str, digest: str, text: str) -> None:
        self._why[digest] = text
        self._trouble(name, text)

    def _trouble(self, name: str, text: str) -> str:
        log.warning(name, slot=self._slot, reason=text)
        self._troubles.append(Trouble(name, f"{self._slot}: {text}"))
        return text
