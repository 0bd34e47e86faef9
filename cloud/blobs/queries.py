"""Every SELECT of blobs."""

from __future__ import annotations

from sqlalchemy import func
from sqlmodel import Session, col, select

from cloud.blobs.models import BlobRow


def totals(session: Session) -> tuple[int, int]:
    """Number of blobs and their bytes together."""
    query = select(func.count(), func.coalesce(func.sum(col(BlobRow.size_bytes)), 0))
    count, size_bytes = session.exec(query.select_from(BlobRow)).one()
    return count, size_bytes
