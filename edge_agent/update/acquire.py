"""Gets a slot's bundle onto the disk: manifest, judgement, files, placement.

What is fetched lies in `partial/<slot>/` under its digest until the bundle is placed, so
that an attempt goes on after a kill with what it has.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from edge_agent.config import Limits
from edge_agent.errors import BundleError
from edge_agent.store import Store, write_atomically
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.download import Timing
from edge_agent.update.fetch import Blob, ChunkRead, Fetch, ManifestBlob, Transport
from edge_agent.update.judging import Judging, refused
from edge_agent.update.reservation import Room, drop_unlisted, lacking_bytes, reserve_files
from edge_agent.update.retention import Needs
from edge_agent.update.states import Outcome
from edge_agent.update.trust import Refused
from protocol.bundles import MANIFEST_BYTES_MAX, Manifest, read_manifest
from protocol.chunks import BlobRef, sha256_hex
from protocol.messages import SlotDesired
from protocol.states import ExecutionEvent, ExecutionState


@dataclass(frozen=True)
class AcquireContext:
    """What the acquisitions of all slots share.

    Attributes:
        needs: what must stay on the disk, now.
    """

    store: Store
    bundles: BundleStore
    transport: Transport
    limits: Limits
    judging: Judging
    needs: Callable[[], Needs]
    counters: Counter[str]


class Acquire:
    """Brings one slot's bundles. Errors are raised: EdgeError, ProtocolError or OSError."""

    def __init__(self, slot: str, context: AcquireContext) -> None:
        self._context = context
        self._folder = context.store.partial / slot
        self._fetch: Fetch | None = None
        self._manifest: ManifestBlob | None = None
        self._files_follow = False

    def look(self, desired: SlotDesired, now: float) -> Outcome | None:
        """Get the manifest and judge by it whether to go on; None while it is fetched."""
        digest, context = desired.bundle_digest, self._context
        if context.bundles.has(digest):
            return self._judge(desired, context.judging.manifest_bytes(digest))
        fetched = self._fetched_manifest(digest)
        if fetched is not None:
            return self._judge(desired, fetched)
        if desired.manifest_bytes > MANIFEST_BYTES_MAX:
            text = f"a manifest of {desired.manifest_bytes} bytes is over the limit"
            return Outcome(ExecutionEvent.ERROR, text)
        self._open_manifest(desired, now)
        return None

    def fetch(self, desired: SlotDesired, now: float) -> Outcome | None:
        """Get the files that no bundle holds; None while they are fetched."""
        if self._context.bundles.has(desired.bundle_digest):
            return Outcome()
        manifest_bytes = self._fetched_manifest(desired.bundle_digest)
        if manifest_bytes is None:  # it was lost since it was judged
            self._open_manifest(desired, now)
            self._files_follow = True
            return None
        wanted = _refs(read_manifest(manifest_bytes, desired.bundle_digest))
        drop_unlisted(self._folder, {*wanted, desired.bundle_digest})
        lacking = self._lacking(wanted)
        self._require_room(desired, wanted, lacking)
        blobs = reserve_files(self._folder, lacking)
        self._open(blobs, {sha256: blob.held() for sha256, blob in blobs.items()}, now)
        return None

    def place(self, desired: SlotDesired) -> Outcome:
        """Put the bundle together and verify all of it. Runs on a worker's thread.

        Raises:
            BundleError: a file is damaged or absent; `fetch` gets it again.
        """
        digest, context = desired.bundle_digest, self._context
        held = context.bundles.has(digest)
        manifest_bytes = (
            context.judging.manifest_bytes(digest) if held else self._fetched_manifest(digest)
        )
        if manifest_bytes is None:
            raise BundleError(f"the manifest of {digest[:12]} is absent; it is fetched again")
        answer = context.judging.of(manifest_bytes, desired)
        if isinstance(answer, Refused):
            return refused(answer, ExecutionState.DOWNLOADED)
        if held:
            self._verify(digest, manifest_bytes)
            return Outcome()
        wanted = _refs(answer.manifest)
        fetched = {sha256: self._folder / sha256 for sha256 in wanted}
        lent = context.bundles.held_files(wanted)
        context.bundles.place(digest, manifest_bytes, {**fetched, **lent})
        return Outcome()

    def tick(self, desired: SlotDesired, now: float) -> Outcome | None:
        """Let the download that runs ask for what it lacks; its outcome when it is whole."""
        if self._fetch is None:
            return None
        self._fetch.tick(now)
        if not self._fetch.complete:
            return None
        self.close()
        manifest, self._manifest = self._manifest, None
        if manifest is None:
            return Outcome()
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / desired.bundle_digest, manifest.data)
        if self._files_follow:
            self._files_follow = False
            return self.fetch(desired, now)
        return self._judge(desired, manifest.data)

    def take_chunk(self, chunk: ChunkRead, now: float) -> None:
        """A chunk came; whether this download wants it is its own affair."""
        if self._fetch is not None:
            self._fetch.take(chunk.sha256, chunk.index, chunk.data, now)

    def link_restored(self) -> None:
        if self._fetch is not None:
            self._fetch.link_restored()

    def close(self) -> None:
        """Stop the download that runs; what has arrived stays for the next attempt."""
        if self._fetch is not None:
            self._fetch.close()
            self._fetch = None

    def forget(self) -> None:
        """Remove what was fetched: the bundle is placed."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _judge(self, desired: SlotDesired, manifest_bytes: bytes) -> Outcome:
        """Whether a bundle is what was promised, fits this device, and has room."""
        answer = self._context.judging.of(manifest_bytes, desired)
        if isinstance(answer, Refused):
            return refused(answer, ExecutionState.QUEUED)
        if not self._context.bundles.has(desired.bundle_digest):
            wanted = _refs(answer.manifest)
            self._require_room(desired, wanted, self._lacking(wanted))
        return Outcome(figures={"size_bytes": float(answer.manifest.size_bytes)})

    def _verify(self, digest: str, manifest_bytes: bytes) -> None:
        """Read all of a bundle that is held; a damaged one is fetched, as far as it is bad."""
        bundles = self._context.bundles
        try:
            bundles.verify(digest)
        except BundleError:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._folder / digest, manifest_bytes)
            bundles.set_aside(digest)
            raise

    def _lacking(self, wanted: Mapping[str, BlobRef]) -> dict[str, BlobRef]:
        held = self._context.bundles.held_files(wanted)
        return {sha256: ref for sha256, ref in wanted.items() if sha256 not in held}

    def _require_room(
        self, desired: SlotDesired, wanted: Collection[str], lacking: Mapping[str, BlobRef]
    ) -> None:
        needed_bytes = lacking_bytes(self._folder, lacking)
        self._room().require(needed_bytes, {*wanted, desired.bundle_digest})

    def _room(self) -> Room:
        context, kept_free_bytes = self._context, self._context.limits.disk_free_bytes_min
        return Room(self._folder, context.store, context.bundles, context.needs(), kept_free_bytes)

    def _fetched_manifest(self, digest: str) -> bytes | None:
        """The manifest as it was fetched; None where it is not there, or is another."""
        try:
            with (self._folder / digest).open("rb") as file:
                found = file.read(MANIFEST_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        return found if sha256_hex(found) == digest else None

    def _open_manifest(self, desired: SlotDesired, now: float) -> None:
        # What an attempt that ended has reserved must not keep even the manifest from the disk.
        self._room().make(desired.manifest_bytes, {desired.bundle_digest})
        manifest = ManifestBlob(desired.bundle_digest, desired.manifest_bytes)
        self._open({desired.bundle_digest: manifest}, {}, now)
        self._manifest = manifest

    def _open(self, blobs: Mapping[str, Blob], held: Mapping[str, set[int]], now: float) -> None:
        """Begin a download; what was known of the one before is forgotten."""
        context, self._manifest, self._files_follow = self._context, None, False
        timing = Timing(context.limits.chunk_stall_s, context.limits.http_fallback_after_s)
        self.close()
        self._fetch = Fetch(
            blobs,
            held,
            transport=context.transport,
            timing=timing,
            counters=context.counters,
            now=now,
        )


def _refs(manifest: Manifest) -> dict[str, BlobRef]:
    """Every distinct file of a bundle by its digest."""
    return {entry.blob.sha256: entry.blob for entry in manifest.files}
