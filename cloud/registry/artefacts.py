"""Files that are kept with a version: curves, arguments, confusion matrices."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.blobs import service as blobs
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.registry import queries
from cloud.registry.models import Artefact, ModelVersion
from cloud.registry.reading import get_version
from protocol.chunks import BlobRef

ARTEFACTS_MAX = 256
ARTEFACT_BYTES_MAX = 256 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_WORD = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}/[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


def add_artefact(
    session: Session,
    principal: Principal,
    version: ModelVersion,
    name: str,
    *,
    kind: str,
    media_type: str,
    blob: BlobRef,
) -> Artefact:
    """Keep a file, whose bytes the store holds already, with a version.

    The same file again is the artefact that is there.

    Raises:
        InvalidError: name, kind or media type are none, or the file is too large.
        ConflictError: the version has another file of that name, or too many.
    """
    require(principal, Role.OPERATOR)
    assert version.id is not None  # noqa: S101 - it came from the database
    _check(name, kind, media_type, blob)
    there = queries.artefact(session, version.id, name)
    if there is not None:
        if there.sha256 == blob.sha256:
            return there
        raise ConflictError(
            f"{version.model} v{version.number} has another file {name}", "give it another name"
        )
    if len(queries.artefacts(session, version.id)) >= ARTEFACTS_MAX:
        raise ConflictError(
            f"{version.model} v{version.number} has {ARTEFACTS_MAX} artefacts already",
            "pack several files into one",
        )
    row = Artefact(
        version_id=version.id,
        name=name,
        kind=kind,
        media_type=media_type,
        sha256=blobs.record(session, blob, media_type).sha256,
        size_bytes=blob.size_bytes,
        created_at=time.time(),
    )
    session.add(row)
    access.audit(
        session, principal, "artefact.add", f"model/{version.model}/{version.number}", name=name
    )
    session.flush()
    return row


def artefacts(
    session: Session, principal: Principal, model: str, number: int
) -> Sequence[Artefact]:
    """By name."""
    version = get_version(session, principal, model, number)
    assert version.id is not None  # noqa: S101 - it came from the database
    return queries.artefacts(session, version.id)


def artefact(
    session: Session, principal: Principal, model: str, number: int, name: str
) -> Artefact:
    """Raises NotFoundError where there is none."""
    version = get_version(session, principal, model, number)
    assert version.id is not None  # noqa: S101 - it came from the database
    row = queries.artefact(session, version.id, name)
    if row is None:
        raise NotFoundError(
            f"{model} v{number} has no artefact {name[:80]}",
            f"`argosy version artefacts {model} {number}` lists them",
        )
    return row


def _check(name: str, kind: str, media_type: str, blob: BlobRef) -> None:
    for what, text, pattern in (
        ("name", name, _NAME),
        ("kind", kind, _WORD),
        ("media type", media_type, _MEDIA_TYPE),
    ):
        if not pattern.fullmatch(text):
            raise InvalidError(
                f"{text[:80]!r} is no {what} of an artefact", "use letters, digits, . _ -"
            )
    if blob.size_bytes > ARTEFACT_BYTES_MAX:
        raise InvalidError(
            f"artefact {name} has {blob.size_bytes} bytes, over {ARTEFACT_BYTES_MAX}",
            "keep a smaller file",
        )
