"""Finds bundles with bit rot, and gets their damaged files from the hub.

What a slot serves is checked before it is loaded, and a candidate by its attempt. This looks at
the others that must stay, above all at the last-known-good: a way back that turns out to be
damaged when it is needed is none. Every byte is read on a worker, after the start. What is
damaged is set aside and only its bad files are fetched, while no attempt runs: an attempt may
want the same files, and it comes first. A hub that is silent is asked again, for ever. Only
where the manifest is damaged too, nothing says what to ask for: the bundle is lost, and told.
"""

from __future__ import annotations

import shutil
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from queue import Empty, SimpleQueue

import structlog

from edge_agent.config import Limits
from edge_agent.errors import BundleError, EdgeError
from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.download import Timing
from edge_agent.update.fetch import Fetch, Transport
from edge_agent.update.reservation import Room, lacking_bytes, reserve_files
from edge_agent.update.retention import Needs
from protocol.bundles import Manifest, read_manifest
from protocol.errors import ProtocolError

REPAIR_FOLDER = ".repair"
AGAIN_S = 600.0
"""How long a repair that did not succeed waits, and how long one may take (s)."""

log = structlog.get_logger(__name__)


class _End(Enum):
    DAMAGED = "damaged"
    UNPROVABLE = "its golden frames are damaged"
    REPAIRED = "repaired"
    FAILED = "failed"
    CHECKED = "all were read"


@dataclass(frozen=True)
class RepairContext:
    """What a repair shares with the attempts.

    Attributes:
        submit: run a job on the updates' worker.
        needs: what must stay on the disk, now.
        alert: tell the hub, by a name and in words.
    """

    store: Store
    bundles: BundleStore
    transport: Transport
    limits: Limits
    submit: Callable[[Callable[[], None]], None]
    needs: Callable[[], Needs]
    alert: Callable[[str, str], None]
    counters: Counter[str]


class Repair:
    """Repairs one bundle after the other. Used by the agent's thread."""

    def __init__(self, context: RepairContext) -> None:
        self._context = context
        self._folder = context.store.partial / REPAIR_FOLDER
        self._damaged: deque[str] = deque()
        self._unprovable: set[str] = set()
        self._ended: SimpleQueue[tuple[str, _End]] = SimpleQueue()
        self._digest: str | None = None
        self._manifest = b""
        self._fetch: Fetch | None = None
        self._began = 0.0
        self._not_before = 0.0

    @property
    def waiting(self) -> int:
        """How many bundles are known to be damaged and not repaired yet."""
        return len(self._damaged)

    def check(self, digests: Collection[str]) -> None:
        """Read these bundles on the worker; the damaged ones are repaired by `tick`."""
        aside = self._context.bundles.damaged()
        self._damaged.extend(d for d in aside if d in digests and d not in self._damaged)
        held = [d for d in digests if self._context.bundles.has(d)]

        def job() -> None:
            for digest in held:
                end = self._read(digest)
                if end is not None:
                    self._ended.put((digest, end))
            self._ended.put(("", _End.CHECKED))

        self._context.submit(job)

    def _read(self, digest: str) -> _End | None:
        """What is wrong with a bundle that is held; None for nothing."""
        bundles = self._context.bundles
        try:
            bundles.verify(digest)
        except BundleError:
            pass
        else:
            return None
        try:
            bundles.verify(digest, to_serve=True)
        except BundleError:
            return _End.DAMAGED
        return _End.UNPROVABLE

    def found(self, digest: str) -> None:
        """Somebody who read the bundle says that it is damaged; from any thread."""
        self._ended.put((digest, _End.DAMAGED))

    def tick(self, now: float, *, busy: bool) -> None:
        """Go on; `busy`: an attempt fetches, and what is fetched here waits until it has."""
        self._hear(now)
        if busy:
            self._close()
        elif self._fetch is not None:
            self._guarded(now, self._go_on)
        elif self._digest is None and self._damaged and now >= self._not_before:
            self._guarded(now, self._begin)

    def take_chunk(self, sha256: str, index: int, data: bytes, now: float) -> None:
        """A chunk came; whether it is wanted here is this one's own affair."""
        if self._fetch is not None:
            fetch = self._fetch
            self._guarded(now, lambda _now: fetch.take(sha256, index, data, now))

    def link_restored(self) -> None:
        if self._fetch is not None:
            self._fetch.link_restored()

    def stop(self) -> None:
        """Ask for nothing more; what has arrived stays for the next start."""
        self._close()

    def _hear(self, now: float) -> None:
        """What the worker found, or put together."""
        while True:
            try:
                digest, end = self._ended.get(block=False)
            except Empty:
                return
            if end is _End.UNPROVABLE:
                self._note_unprovable(digest)
                continue
            if end is _End.CHECKED:
                if not self._damaged:  # what an earlier process was about to repair is no more
                    self._give_back()
                continue
            if end is _End.DAMAGED:
                try:
                    self._set_aside(digest)
                except OSError as error:
                    log.warning("repair_failed", bundle=digest, reason=str(error))
                    self._ended.put((digest, end))
                    return
                continue
            self._digest = None
            if end is _End.REPAIRED:
                self._damaged.remove(digest)
                self._unprovable.discard(digest)
                self._tell("bundle_repaired", digest, "its damaged files came from the hub")
            else:
                self._put_off(now, "the bundle could not be put together")

    def _note_unprovable(self, digest: str) -> None:
        """It may serve on, and stays where it is until its files are there."""
        if digest not in self._damaged:
            self._damaged.append(digest)
            self._unprovable.add(digest)
            self._tell("bundle_damaged", digest, "its golden frames are not what was placed")

    def _set_aside(self, digest: str) -> None:
        if digest not in self._damaged and self._context.bundles.has(digest):
            self._context.bundles.set_aside(digest)
            self._damaged.append(digest)
            self._tell("bundle_damaged", digest, "its files are not what was placed")

    def _tell(self, name: str, digest: str, text: str) -> None:
        self._context.counters[name] += 1
        log.warning(name, bundle=digest, text=text)
        self._context.alert(name, f"bundle {digest[:12]}: {text}")

    def _begin(self, now: float) -> None:
        context, digest = self._context, self._damaged[0]
        unprovable = digest in self._unprovable and context.bundles.has(digest)
        if not unprovable and digest not in context.bundles.damaged():
            self._unprovable.discard(self._damaged.popleft())  # placed by an attempt, or pruned
            self._give_back()
            return
        try:
            raw = context.bundles.damaged_manifest(digest)
        except BundleError as error:
            self._damaged.popleft()
            self._give_back()
            self._tell("bundle_lost", digest, str(error))
            return
        wanted = {entry.blob.sha256: entry.blob for entry in read_manifest(raw, digest).files}
        held = context.bundles.held_files(wanted)
        lacking = {sha256: ref for sha256, ref in wanted.items() if sha256 not in held}
        self._folder.mkdir(parents=True, exist_ok=True)
        kept_free_bytes = context.limits.disk_free_bytes_min
        room = Room(self._folder, context.store, context.bundles, context.needs(), kept_free_bytes)
        room.require(lacking_bytes(self._folder, lacking), wanted)
        blobs = reserve_files(self._folder, lacking)
        timing = Timing(context.limits.chunk_stall_s, context.limits.http_fallback_after_s)
        self._digest, self._manifest, self._began = digest, raw, now
        self._fetch = Fetch(
            blobs,
            {sha256: blob.held() for sha256, blob in blobs.items()},
            transport=context.transport,
            timing=timing,
            counters=context.counters,
            now=now,
        )

    def _go_on(self, now: float) -> None:
        if self._fetch is None or self._digest is None:
            return
        self._fetch.tick(now)
        if self._fetch.complete:
            self._fetch.close()
            self._fetch = None
            self._place(self._digest, self._manifest)
        elif now - self._began > AGAIN_S:
            self._put_off(now, "the hub did not send the damaged files in time")

    def _place(self, digest: str, manifest_bytes: bytes) -> None:
        """On the worker: put the good files and the fetched ones together."""

        def job() -> None:
            try:
                self._put_together(digest, manifest_bytes)
            except (EdgeError, ProtocolError, OSError) as error:
                log.warning("repair_failed", bundle=digest, reason=str(error))
                self._ended.put((digest, _End.FAILED))
            else:
                self._ended.put((digest, _End.REPAIRED))

        self._context.submit(job)

    def _put_together(self, digest: str, manifest_bytes: bytes) -> Manifest:
        bundles, manifest = self._context.bundles, read_manifest(manifest_bytes, digest)
        wanted = {entry.blob.sha256 for entry in manifest.files}
        fetched = {sha256: self._folder / sha256 for sha256 in wanted}
        bundles.place(digest, manifest_bytes, {**fetched, **bundles.held_files(wanted)})
        self._give_back()
        return manifest

    def _give_back(self) -> None:
        """Remove what was fetched, and with it the room that was reserved."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _guarded(self, now: float, action: Callable[[float], None]) -> None:
        try:
            action(now)
        except (EdgeError, ProtocolError, OSError) as error:
            self._put_off(now, str(error))

    def _put_off(self, now: float, reason: str) -> None:
        """Later, and the others first."""
        log.warning("repair_put_off", bundle=self._damaged[0], reason=reason, again_s=AGAIN_S)
        self._close()
        self._not_before = now + AGAIN_S
        self._damaged.rotate(-1)

    def _close(self) -> None:
        if self._fetch is not None:
            self._fetch.close()
            self._fetch, self._digest = None, None
