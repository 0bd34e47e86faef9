"""Which bundle a slot may load at a start, so that no bundle can keep the agent from living.

A bundle that kills the process (a segfault in the runtime, memory) would do so at every
start. So each start is counted on the disk before its bundle is loaded, and forgotten when
the agent has served it for a while. An agent that was asked to stop, and did, was not ended by
its bundle: such a start does not count. A bundle that has had its starts is passed over, whatever
was started since: the one before it serves. Where nothing else can serve it goes on for
`PATIENCE` times as many starts, for a start may have been cut short from outside (power, a kill),
and a blind line helps nobody. After those it rests until the agent has lived for that while: long
enough to hear from the hub what to run instead, and then it is tried again.
"""

from __future__ import annotations

import structlog
from pydantic import Field

from edge_agent.store import StateFile, Store
from edge_agent.update.states import Committed, UpdateRecord, committed_name

PATIENCE = 4
"""How many times as many starts a bundle has where nothing else can serve."""

OTHERS_MAX = 8
"""Of how many bundles beside the one that was started last the starts are known."""

log = structlog.get_logger(__name__)


def charged(count: BootCount | None, record: UpdateRecord | None) -> BootCount | None:
    """The count without the last start, where that may have ended by a candidate. Pure.

    `record` is the attempt as that start left it. Where the agent itself was holding a candidate,
    its death counts against the attempt (`UpdateRecord.starts`, `stores`) and not against what was
    loaded at the start.
    """
    if count is None or record is None or not record.holds_candidate:
        return count
    if count.starts <= 1 and not count.others:
        return None
    return count.model_copy(update={"starts": max(0, count.starts - 1)})


class BootCount(StateFile):
    """How often the agent was started with bundles and has not been stable since.

    Attributes:
        digest, starts: of the one that was started last.
        others: the starts of those before it by digest, the latest last.
    """

    version: int = 1
    digest: str
    starts: int
    others: dict[str, int] = Field(default_factory=dict)

    def of(self, digest: str) -> int:
        """The starts of a bundle."""
        return self.starts if digest == self.digest else self.others.get(digest, 0)


def boot_name(slot: str) -> str:
    """The state file that counts a slot's starts."""
    return f"boot-{slot}"


def admit(count: BootCount | None, digest: str, starts_max: int) -> tuple[BootCount, bool]:
    """The count after another start with `digest`, and whether it may be loaded.

    A bundle that is refused is not counted further.
    """
    if count is None:
        count = BootCount(digest=digest, starts=0)
    starts = count.of(digest)
    if starts >= starts_max:
        return count, False
    others = {d: n for d, n in count.others.items() if d != digest}
    if count.digest != digest:
        others[count.digest] = count.starts
    kept = dict(list(others.items())[-OTHERS_MAX:])
    return BootCount(digest=digest, starts=starts + 1, others=kept), True


class BootGuard:
    """The count of one slot on the disk. Used by the agent's thread.

    At a start `charge` first, with the attempt as it was left. Then, for each bundle that may
    serve, the preferred one first: `enter`, load, and `withdraw` where loading raised. Later,
    once, `stable`.
    """

    def __init__(self, slot: str, store: Store, starts_max: int) -> None:
        self._slot, self._store, self._starts_max = slot, store, starts_max
        self._before: BootCount | None = None
        self._replaced: Committed | None = None
        self._counted = False

    def charge(self, record: UpdateRecord | None) -> None:
        """Take back the last start's count, where a candidate may be what ended it."""
        count = self._store.load(boot_name(self._slot), BootCount)
        following = charged(count, record)
        if following != count:
            try:
                self._put(following)
            except OSError as error:
                log.warning("boot_count_kept", slot=self._slot, error=str(error))

    def enter(self, digest: str, *, alone: bool = False) -> bool:
        """Count a start with `digest`, which is loaded next; False: it had its starts.

        `alone`: nothing else can serve.
        Where the disk refuses, the bundle is loaded uncounted: a full disk must not blind a
        line.
        """
        self._before = self._store.load(boot_name(self._slot), BootCount)
        self._replaced, self._counted = None, False
        starts_max = self._starts_max * (PATIENCE if alone else 1)
        count, admitted = admit(self._before, digest, starts_max)
        if not admitted:
            log.error("boot_loop", slot=self._slot, bundle=digest, starts=count.of(digest))
            return False
        try:
            if not alone:
                self._prefer(digest)
            self._store.save(boot_name(self._slot), count)
            self._counted = True
        except OSError as error:
            log.warning("boot_not_counted", slot=self._slot, error=str(error))
        return True

    def starts(self, digest: str) -> int:
        """How often the agent was started with it and has not been stable since."""
        count = self._store.load(boot_name(self._slot), BootCount)
        return 0 if count is None else count.of(digest)

    def spent(self, digest: str) -> bool:
        """Whether it has had its starts."""
        return self.starts(digest) >= self._starts_max

    def withdraw(self) -> None:
        """What was entered last could not be loaded, which killed nobody: not a start."""
        try:
            if self._replaced is not None:
                self._store.save(committed_name(self._slot), self._replaced)
            self._uncount()
        except OSError as error:
            log.warning("boot_not_counted", slot=self._slot, error=str(error))

    def asked_to_stop(self) -> None:
        """The agent ends because it was asked to, with what it loaded in good order."""
        if not self._counted:
            return
        try:
            self._uncount()
        except OSError as error:
            log.warning("boot_count_kept", slot=self._slot, error=str(error))

    def stable(self) -> None:
        """The agent has lived for `boot_stable_s` with what it loaded: forget the count."""
        self._counted = False
        try:
            self._store.remove(boot_name(self._slot))
        except OSError as error:
            log.warning("boot_count_kept", slot=self._slot, error=str(error))

    def _uncount(self) -> None:
        self._counted = False
        self._put(self._before)

    def _put(self, count: BootCount | None) -> None:
        if count is None:
            self._store.remove(boot_name(self._slot))
        else:
            self._store.save(boot_name(self._slot), count)

    def _prefer(self, digest: str) -> None:
        """Where another bundle takes over from the committed one, it is committed, with why.

        Else each boot would begin with the starts of the one that kills the agent.
        """
        name = committed_name(self._slot)
        committed = self._store.load(name, Committed)
        if self._before is None or committed is None or committed.digest == digest:
            return
        starts = self._before.of(committed.digest)
        if starts >= self._starts_max:
            log.warning("boot_went_back", slot=self._slot, bundle=digest)
            why = f"{committed.digest[:12]} ended the agent at {starts} starts in a row"
            swapped = Committed(
                digest=digest,
                previous_digest=committed.digest,
                why=why,
                untold=committed.untold,
            )
            self._store.save(name, swapped)
            self._replaced = committed
