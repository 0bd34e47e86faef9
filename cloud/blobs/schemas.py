"""API shapes of blobs: what one is, and ranges of its bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import BaseModel

from cloud.errors import RangeError

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class BlobView(BaseModel):
    sha256: str
    size_bytes: int
    media_type: str
    created_at: float


@dataclass(frozen=True)
class ByteRange:
    """The bytes [start, start + length) of a blob of `size_bytes`."""

    start: int
    length: int
    size_bytes: int

    @property
    def content_range(self) -> str:
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size_bytes}"


def parse_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """The one range that a Range header asks for; None where the whole is meant.

    As RFC 9110 allows, a header of another unit, or of many ranges, is ignored.

    Raises:
        RangeError: the range lies outside of the blob.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        length = min(int(last), size_bytes)
        start, end = size_bytes - length, size_bytes
    else:
        start = int(first)
        end = min(int(last) + 1, size_bytes) if last else size_bytes
    if start >= size_bytes or end <= start:
        raise RangeError(
            f"{header} lies outside of the blob's {size_bytes} bytes", "ask for bytes inside it"
        )
    return ByteRange(start, end - start, size_bytes)
