"""Gets a slot's bundle onto the disk: manifest, judgement, files, placement.

What is fetched lies in `partial/<slot>/` under its digest until the bundle is placed, so
that an attempt goes on after a kill with what it has.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_agent.config import Limits
from edge_agent.errors import BundleError
from edge_agent.store import Store, write_atomically
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.download import Timing
from edge_agent.update.fetch import Blob, Fetch, FileBlob, ManifestBlob, Transport
from edge_agent.update.states import Outcome
from protocol.builds import Capabilities, match
from protocol.bundles import MANIFEST_BYTES_MAX, Manifest, read_manifest
from protocol.chunks import BlobRef
from protocol.messages import SlotDesired
from protocol.states import ExecutionEvent


@dataclass(frozen=True)
class AcquireContext:
    """What the acquisitions of all slots share."""

    store: Store
    bundles: BundleStore
    transport: Transport
    limits: Limits
    capabilities: Callable[[], Capabilities]
    counters: Counter[str]


class Acquire:
    """Brings one slot's bundles. Errors are raised: EdgeError, ProtocolError or OSError."""

    def __init__(self, slot: str, context: AcquireContext) -> None:
        self._context = context
        self._folder = context.store.partial / slot
        self._fetch: Fetch | None = None
        self._manifest: ManifestBlob | None = None

    def look(self, desired: SlotDesired, now: float) -> Outcome | None:
        """Get the manifest and judge by it whether to go on; None while it is fetched."""
        digest, bundles = desired.bundle_digest, self._context.bundles
        if bundles.has(digest):
            return self._judge(desired, bundles.manifest(digest))
        if desired.manifest_bytes > MANIFEST_BYTES_MAX:
            return failed(f"a manifest of {desired.manifest_bytes} bytes is over the limit")
        self._manifest = ManifestBlob(digest, desired.manifest_bytes)
        self._open({digest: self._manifest}, {}, now)
        return None

    def fetch(self, desired: SlotDesired, now: float) -> Outcome | None:
        """Get the files that no bundle holds; None while they are fetched."""
        if self._context.bundles.has(desired.bundle_digest):
            return Outcome()
        wanted = _refs(self._read_manifest(desired))
        held = self._context.bundles.held_files(wanted)
        for path in self._folder.iterdir():
            if path.name not in wanted and path.name != desired.bundle_digest:
                path.unlink()
        lacking = {sha256: ref for sha256, ref in wanted.items() if sha256 not in held}
        blobs = {sha256: FileBlob(ref, self._folder / sha256) for sha256, ref in lacking.items()}
        self._open(blobs, {sha256: blob.held() for sha256, blob in blobs.items()}, now)
        return None

    def place(self, desired: SlotDesired) -> None:
        """Put the bundle together and verify all of it. Runs on a worker's thread."""
        digest, bundles = desired.bundle_digest, self._context.bundles
        if bundles.has(digest):
            try:
                bundles.verify(digest)
            except BundleError:
                bundles.remove(digest)
                raise
            return
        manifest_bytes = (self._folder / digest).read_bytes()
        wanted = _refs(read_manifest(manifest_bytes, digest))
        fetched = {sha256: self._folder / sha256 for sha256 in wanted}
        bundles.place(digest, manifest_bytes, {**fetched, **bundles.held_files(wanted)})

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
        return self._judge(desired, read_manifest(manifest.data, desired.bundle_digest))

    def take_chunk(self, sha256: str, index: int, data: bytes, now: float) -> None:
        """A chunk came; whether this download wants it is its own affair."""
        if self._fetch is not None:
            self._fetch.take(sha256, index, data, now)

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

    def _judge(self, desired: SlotDesired, manifest: Manifest) -> Outcome:
        """Whether a bundle is what was promised, fits this device, and has room."""
        context = self._context
        if (manifest.model, manifest.version) != (desired.model, desired.version):
            return failed(
                f"the bundle is {manifest.model} v{manifest.version}, "
                f"desired is {desired.model} v{desired.version}"
            )
        fit = match(manifest.build, context.capabilities())
        if not fit.fits:
            return Outcome(ExecutionEvent.NOTHING_FITS, "; ".join(fit.reasons))
        if manifest.size_bytes > context.limits.bundle_bytes_max:
            return failed(
                f"the bundle has {manifest.size_bytes} bytes; limits.bundle_bytes_max is "
                f"{context.limits.bundle_bytes_max}"
            )
        if not context.bundles.has(desired.bundle_digest):
            wanted = _refs(manifest)
            held = context.bundles.held_files(wanted)
            needed = sum(ref.size_bytes for sha256, ref in wanted.items() if sha256 not in held)
            context.store.require_free(needed, context.limits.disk_free_bytes_min)
        return Outcome(figures={"size_bytes": float(manifest.size_bytes)})

    def _read_manifest(self, desired: SlotDesired) -> Manifest:
        digest = desired.bundle_digest
        return read_manifest((self._folder / digest).read_bytes(), digest)

    def _open(self, blobs: Mapping[str, Blob], held: Mapping[str, set[int]], now: float) -> None:
        context = self._context
        timing = Timing(context.limits.chunk_stall_s, context.limits.http_fallback_after_s)
        self._fetch = Fetch(
            blobs,
            held,
            transport=context.transport,
            timing=timing,
            counters=context.counters,
            now=now,
        )


def failed(reason: str) -> Outcome:
    return Outcome(ExecutionEvent.ERROR, reason)


def _refs(manifest: Manifest) -> dict[str, BlobRef]:
    """Every distinct file of a bundle by its digest."""
    return {entry.blob.sha256: entry.blob for entry in manifest.files}
