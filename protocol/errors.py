"""Errors of the protocol. Each names the thing that is wrong and the remedy."""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of everything that this package raises on bad input."""


class DecodeError(ProtocolError):
    """Bytes that are not the message they claim to be."""


class SchemaVersionError(DecodeError):
    """A message of a schema version that this side does not speak."""


class TopicError(ProtocolError):
    """Text that is no topic of ours, or parts that cannot be rendered into one."""


class DigestError(ProtocolError):
    """Bytes whose sha256 is not the one that names them."""


class ChunkError(ProtocolError):
    """A chunk list, index or range that does not fit its blob."""


class ManifestError(ProtocolError):
    """A bundle manifest that cannot be trusted to describe a bundle."""


class IllegalEvent(ProtocolError):  # noqa: N818 - the field's name for it
    """An event that a state's transition table does not allow."""


class MergeError(ProtocolError):
    """Two statistics that do not share their bins and so cannot be merged."""
