"""What a slot serves right after a start: from disk, offline too, before anything else."""

from __future__ import annotations

from dataclasses import replace

import structlog

from edge_agent.detect.bundle import LoadedBundle, load_bundle
from edge_agent.detect.options import LoadOptions
from edge_agent.errors import BundleError, EdgeError
from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.states import (
    Committed,
    UpdateRecord,
    boot_digest,
    committed_name,
    record_name,
)
from protocol.errors import ProtocolError

log = structlog.get_logger(__name__)


def load_at_boot(
    slot: str, store: Store, bundles: BundleStore, options: LoadOptions
) -> tuple[LoadedBundle | None, str]:
    """The bundle to serve, read byte by byte and loaded, and what was wrong on the way.

    A bundle that is damaged is removed, so that it is fetched again, and the one that the
    slot served before takes its place.
    """
    committed = store.load(committed_name(slot), Committed)
    record = store.load(record_name(slot), UpdateRecord)
    previous = None if committed is None else committed.previous_digest
    trouble = ""
    for digest in dict.fromkeys((boot_digest(record, committed), previous)):
        if digest is None:
            continue
        try:
            return _load(digest, bundles, options), trouble
        except BundleError as error:
            bundles.remove(digest)
            trouble = f"{slot}: {error}"
        except (EdgeError, ProtocolError, OSError) as error:
            trouble = f"{slot}: {error}"
        log.warning("bundle_not_served", slot=slot, bundle=digest, reason=trouble)
    return None, trouble


def pinned_digests(slots: tuple[str, ...], store: Store) -> set[str]:
    """The bundles that must stay: served, served before, or wanted by an open attempt."""
    pinned: set[str | None] = set()
    for slot in slots:
        committed = store.load(committed_name(slot), Committed)
        record = store.load(record_name(slot), UpdateRecord)
        if committed is not None:
            pinned |= {committed.digest, committed.previous_digest}
        if record is not None and not record.terminal:
            pinned |= {record.desired.bundle_digest, record.previous_digest}
    return {digest for digest in pinned if digest is not None}


def _load(digest: str, bundles: BundleStore, options: LoadOptions) -> LoadedBundle:
    bundles.verify(digest)
    cached = replace(options, cache=bundles.compiled(digest))
    return load_bundle(bundles.path(digest), digest, cached)
