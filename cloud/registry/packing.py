"""The archive's form: one tar, its table of contents first, read as it streams in. Pure.

Nothing in an archive is believed. Members are the listed ones in the listed order, plain
files, each of the size and digest that the table says, and all of it is bounded. The headers
are read here rather than by `tarfile`, which would take in extended headers of any size. No
path in an archive is ever written to: a member's name is the digest of its bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.errors import InvalidError, TooLargeError
from cloud.registry.schemas import NUMBER_MAX, ClassName, ModelName
from cloud.registry.states import BuildState
from protocol.bundles import CLASSES_MAX
from protocol.chunks import Sha256

FORMAT_VERSION = 1
CONTENTS = "archive.json"
BLOCK = tarfile.BLOCKSIZE
READ_BYTES = 256 * 1024
REMEDY = "export it again with `argosy model export`"
RAISE = "raise the hub's limits, or keep less with the model"


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may be.

    Attributes:
        bytes_max: of all its blobs together.
        blobs_max: number of its blobs.
        contents_bytes_max: of the table of contents, which is held in memory.
    """

    bytes_max: int = 64 * 1024**3
    blobs_max: int = 100_000
    contents_bytes_max: int = 64 * 1024**2


class Source(Protocol):
    """What an archive is read from: at most `size` bytes, none at the end."""

    def read(self, size: int, /) -> bytes: ...


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


ShortText = Annotated[str, Field(max_length=256)]
Number = Annotated[int, Field(ge=1, le=NUMBER_MAX)]
Size = Annotated[int, Field(ge=0, le=2**53)]


class ArchivedModel(_Row):
    name: ModelName
    class_names: list[ClassName] = Field(min_length=1, max_length=CLASSES_MAX)
    floor: Number
    policy: dict[str, Any]


class ArchivedVersion(_Row):
    number: Number
    parent: Number | None
    dataset: ShortText
    dataset_version: Number
    dataset_digest: Sha256
    weights_sha256: Sha256
    weights_bytes: Size
    weights_format: Literal["pt", "onnx"]
    source: Literal["training", "import"]
    lineage: dict[str, Any]
    metrics: dict[str, Any]
    created_at: float
    created_by: ShortText


class ArchivedBuild(_Row):
    digest: Sha256
    number: Number
    state: BuildState
    metrics: dict[str, Any]
    verdict: dict[str, Any]
    notes: dict[str, Any]
    created_at: float


class ArchivedArtefact(_Row):
    number: Number
    name: ShortText
    kind: ShortText
    media_type: ShortText
    sha256: Sha256
    size_bytes: Size
    created_at: float


class ArchivedNote(_Row):
    subject: ShortText
    text: Annotated[str, Field(max_length=4000)]
    at: float
    by: ShortText


class ArchivedBlob(_Row):
    sha256: Sha256
    size_bytes: Size
    media_type: ShortText = "application/octet-stream"


class Contents(_Row):
    """The table of contents, `archive.json`.

    Attributes:
        parts: rows of slices above the registry by the part's name, opaque here.
        blobs: what follows in the tar, in this order.
    """

    format_version: Literal[1] = 1
    model: ArchivedModel
    versions: list[ArchivedVersion]
    builds: list[ArchivedBuild]
    artefacts: list[ArchivedArtefact] = Field(default_factory=list)
    notes: list[ArchivedNote] = Field(default_factory=list)
    parts: dict[ShortText, list[dict[str, Any]]] = Field(default_factory=dict, max_length=16)
    blobs: list[ArchivedBlob]


def read_contents(data: bytes, limits: ArchiveLimits) -> Contents:
    """Parse the table of contents.

    Raises:
        InvalidError: it is none, of a format unknown here, or names something twice.
        TooLargeError: it lists more than the limits allow.
    """
    try:
        found = json.loads(data, parse_constant=_refuse, parse_float=_finite)
        format_version = found.get("format_version") if isinstance(found, dict) else None
        if format_version != FORMAT_VERSION:
            raise InvalidError(
                f"archive format {str(format_version)[:40]} is unknown here; this hub reads "
                f"{FORMAT_VERSION}",
                "import it with a hub of the version that made it",
            )
        contents = Contents.model_validate(found)
    except ValidationError as error:
        said = error.errors()[0]
        place = ".".join(map(str, said["loc"]))
        raise InvalidError(f"{CONTENTS}: {place}: {said['msg']}", REMEDY) from error
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{CONTENTS} is no JSON: {error}", REMEDY) from error
    _check_limits(contents, limits)
    for what, names in (
        ("blob", [blob.sha256 for blob in contents.blobs]),
        ("version", [version.number for version in contents.versions]),
        ("build", [build.digest for build in contents.builds]),
    ):
        if len(set(names)) != len(names):
            raise InvalidError(f"{CONTENTS} lists a {what} twice", REMEDY)
    return contents


def packed_bytes(contents: Contents) -> int:
    """Length of the tar that `pack` gives."""
    sizes = [len(contents.model_dump_json().encode()), *(b.size_bytes for b in contents.blobs)]
    return sum(BLOCK + size + len(_padding(size)) for size in sizes) + 2 * BLOCK


def pack(contents: Contents, read: Callable[[ArchivedBlob], Iterable[bytes]]) -> Iterator[bytes]:
    """The tar, piece by piece; the same contents give the same bytes.

    Args:
        read: the bytes of a blob, in pieces.
    """
    data = contents.model_dump_json().encode()
    yield _header(CONTENTS, len(data)) + data + _padding(len(data))
    for blob in contents.blobs:
        yield _header(blob.sha256, blob.size_bytes)
        yield from read(blob)
        yield _padding(blob.size_bytes)
    yield bytes(2 * BLOCK)


def unpack(
    source: Source,
    limits: ArchiveLimits,
    store: Callable[[ArchivedBlob, Iterator[bytes]], None],
) -> Contents:
    """Read an archive as it comes, giving each blob to `store`, which reads it to its end.

    Raises:
        InvalidError: it is no archive, cut short, or holds anything but what it lists.
        TooLargeError: it is over the limits.
    """
    size = _open_member(source, CONTENTS)
    if size > limits.contents_bytes_max:
        raise TooLargeError(f"{CONTENTS} has {size} bytes, over {limits.contents_bytes_max}", RAISE)
    contents = read_contents(b"".join(_member(source, size)), limits)
    for blob in contents.blobs:
        size = _open_member(source, blob.sha256)
        if size != blob.size_bytes:
            raise InvalidError(
                f"blob {blob.sha256[:12]} has {size} bytes, not {blob.size_bytes}", REMEDY
            )
        digest = hashlib.sha256()
        store(blob, _hashed(_member(source, size), digest.update))
        if digest.hexdigest() != blob.sha256:
            raise InvalidError(f"the bytes of blob {blob.sha256[:12]} are others", REMEDY)
    if any(_exactly(source, 2 * BLOCK)):
        raise InvalidError(f"a member follows that {CONTENTS} does not list", REMEDY)
    return contents


def _check_limits(contents: Contents, limits: ArchiveLimits) -> None:
    if len(contents.blobs) > limits.blobs_max:
        raise TooLargeError(
            f"the archive lists {len(contents.blobs)} blobs, over {limits.blobs_max}", RAISE
        )
    total = sum(blob.size_bytes for blob in contents.blobs)
    if total > limits.bytes_max:
        raise TooLargeError(
            f"the archive's blobs have {total} bytes, over {limits.bytes_max}", RAISE
        )


def _open_member(source: Source, name: str) -> int:
    """Size of the next member, which must be `name`, a plain file."""
    try:
        member = tarfile.TarInfo.frombuf(_exactly(source, BLOCK), "ascii", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise InvalidError(f"no member where {name[:12]} should be: {error}", REMEDY) from error
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise InvalidError(f"member {member.name[:80]!r} is no plain file", REMEDY)
    if member.name != name:
        raise InvalidError(f"member {member.name[:80]!r} stands where {name[:12]} should", REMEDY)
    if member.size < 0:
        raise InvalidError(f"member {name[:12]} has a negative size", REMEDY)
    return member.size


def _member(source: Source, size: int) -> Iterator[bytes]:
    left = size
    while left > 0:
        piece = source.read(min(READ_BYTES, left))
        if not piece:
            raise InvalidError("the archive is cut short", REMEDY)
        left -= len(piece)
        yield piece
    _exactly(source, len(_padding(size)))


def _exactly(source: Source, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.read(size - len(data))
        if not piece:
            raise InvalidError("the archive is cut short", REMEDY)
        data += piece
    return data


def _hashed(pieces: Iterator[bytes], feed: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in pieces:
        feed(piece)
        yield piece


def _header(name: str, size_bytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % BLOCK)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)
