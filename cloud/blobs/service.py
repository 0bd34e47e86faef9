"""Verbs of blobs: keep bytes, and the row that says what they are.

The bytes are on the disk before the row is committed; bytes without a row, left by a
crash in between, are taken over by the next one who brings them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, PrincipalKind, Role, require
from cloud.blobs import queries
from cloud.blobs.models import BlobRow
from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.errors import NotFoundError, TooLargeError
from protocol.chunks import BlobRef

OCTETS = "application/octet-stream"


def add_bytes(session: Session, store: BlobStore, data: bytes, media_type: str = OCTETS) -> BlobRow:
    """Keep `data`. Raises as `BlobStore.put` does."""
    return record(session, store.put([data]), media_type)


def add_file(session: Session, store: BlobStore, source: Path, media_type: str = OCTETS) -> BlobRow:
    """Keep a copy of the file `source`. Raises as `BlobStore.put` does."""
    return record(session, store.put_file(source), media_type)


def check_upload(principal: Principal, store_bytes_max: int, size_bytes: int | None) -> None:
    """Before the body is read: may they, and does it say that it fits?

    Raises:
        TooLargeError: `size_bytes`, which the request gives, is over `store_bytes_max`.
    """
    require(principal, Role.OPERATOR)
    if size_bytes is not None and size_bytes > store_bytes_max:
        raise TooLargeError(
            f"the body of {size_bytes} bytes is over {store_bytes_max}",
            "send less, or raise limits.blob_bytes_max of the hub",
        )


def upload(
    database: Database,
    store: BlobStore,
    principal: Principal,
    sha256: str,
    pieces: Iterable[bytes],
) -> tuple[BlobRow, bool]:
    """Keep what `pieces` add up to, and whether it is new. The caller has checked the role.

    The database is locked only when all bytes are there. Raises as `BlobStore.put` does.
    """
    put = store.put(pieces, expected_sha256=sha256)
    with database.transaction() as session:
        is_new = session.get(BlobRow, sha256) is None
        row = record(session, put)
        if is_new:
            access.audit(
                session, principal, "blob.upload", f"blob/{sha256}", size_bytes=row.size_bytes
            )
    return row, is_new


def record(session: Session, ref: BlobRef, media_type: str = OCTETS) -> BlobRow:
    """The row of a blob that the store holds already; made where there is none.

    A blob that was uploaded as mere bytes takes the type of who knows what it is.
    """
    row = session.get(BlobRow, ref.sha256)
    if row is None:
        row = BlobRow(
            sha256=ref.sha256,
            size_bytes=ref.size_bytes,
            media_type=media_type,
            chunks=[chunk.model_dump() for chunk in ref.chunks],
            created_at=time.time(),
        )
        session.add(row)
        session.flush()
    elif row.media_type == OCTETS != media_type:
        row.media_type = media_type
        session.add(row)
    return row


def get(session: Session, sha256: str) -> BlobRow:
    """Raises NotFoundError where there is none."""
    row = session.get(BlobRow, sha256)
    if row is None:
        raise NotFoundError(f"there is no blob {sha256[:12]}", "check the digest")
    return row


def media_type(session: Session, sha256: str) -> str | None:
    """What a blob was stored as; None where it is not there."""
    row = session.get(BlobRow, sha256)
    return None if row is None else row.media_type


def ref(session: Session, sha256: str) -> BlobRef:
    """Digest, size and chunks of a blob. Raises NotFoundError where there is none."""
    row = get(session, sha256)
    return BlobRef.model_validate(
        {"sha256": row.sha256, "size_bytes": row.size_bytes, "chunks": row.chunks}
    )


def fetch(session: Session, principal: Principal, sha256: str) -> BlobRow:
    """The blob's row, for a device or anybody who may view."""
    if principal.kind is not PrincipalKind.DEVICE:
        require(principal, Role.VIEWER)
    return get(session, sha256)


def totals(session: Session) -> tuple[int, int]:
    """Number of blobs and their bytes together."""
    return queries.totals(session)
