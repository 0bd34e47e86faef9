"""MQTT topics as a type: parsed and rendered here and nowhere else.

A `Topic` is a kind with its parts; a `TopicSpace` is a root under which topics render
to text, parse back, widen to filters and yield the broker's access rules. The table
PATTERNS is the only place where a topic is spelled out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from protocol.errors import TopicError

ROOT_DEFAULT = "argosy/v1"
TOPIC_BYTES_MAX = 512
HUB_USERNAME = "hub"
"""The hub's user at a broker whose other users are device ids; no device may be called so."""


class Kind(str, Enum):
    """Every kind of topic, as docs/protocol.md lists them."""

    DESIRED = "desired"
    REPORTED = "reported"
    PRESENCE = "presence"
    TELEMETRY = "telemetry"
    EVENTS = "events"
    SAMPLES = "samples"
    SAMPLE_CHUNK = "sample_chunk"
    ACKS = "acks"
    COMMANDS = "commands"
    COMMAND_RESPONSES = "command_responses"
    WANTS = "wants"
    BLOB_CHUNK = "blob_chunk"
    TRUST = "trust"


class Direction(str, Enum):
    """Who publishes."""

    TO_DEVICE = "hub -> device"
    FROM_DEVICE = "device -> hub"
    TO_MANY = "hub -> many"


@dataclass(frozen=True)
class Pattern:
    """How a kind is spelled, who publishes it, whether it is retained."""

    template: str
    direction: Direction
    retained: bool = False


PATTERNS: dict[Kind, Pattern] = {
    Kind.DESIRED: Pattern("devices/{device_id}/desired", Direction.TO_DEVICE, retained=True),
    Kind.REPORTED: Pattern("devices/{device_id}/reported", Direction.FROM_DEVICE, retained=True),
    Kind.PRESENCE: Pattern("devices/{device_id}/presence", Direction.FROM_DEVICE, retained=True),
    Kind.TELEMETRY: Pattern("devices/{device_id}/telemetry", Direction.FROM_DEVICE),
    Kind.EVENTS: Pattern("devices/{device_id}/events", Direction.FROM_DEVICE),
    Kind.SAMPLES: Pattern("devices/{device_id}/samples", Direction.FROM_DEVICE),
    Kind.SAMPLE_CHUNK: Pattern(
        "devices/{device_id}/samples/{sha256}/{index}", Direction.FROM_DEVICE
    ),
    Kind.ACKS: Pattern("devices/{device_id}/acks", Direction.TO_DEVICE),
    Kind.COMMANDS: Pattern("devices/{device_id}/commands", Direction.TO_DEVICE),
    Kind.COMMAND_RESPONSES: Pattern(
        "devices/{device_id}/commands/responses", Direction.FROM_DEVICE
    ),
    Kind.WANTS: Pattern("devices/{device_id}/wants", Direction.FROM_DEVICE),
    Kind.BLOB_CHUNK: Pattern("blobs/{sha256}/{index}", Direction.TO_MANY),
    Kind.TRUST: Pattern("trust/{filename}", Direction.TO_MANY, retained=True),
}

TRUST_INDEX_FILENAME = "index"

_PARTS: dict[str, re.Pattern[str]] = {
    "device_id": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "index": re.compile(r"0|[1-9][0-9]{0,6}"),
    "filename": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"),
}


@dataclass(frozen=True)
class Topic:
    """One topic: its kind and the parts that its pattern names, the others empty."""

    kind: Kind
    device_id: str = ""
    sha256: str = ""
    index: int = -1
    filename: str = ""


def valid_device_id(text: str) -> bool:
    """Whether `text` may be a device id: 1 to 64 of letters, digits, '.', '_', '-'; not `hub`."""
    return text != HUB_USERNAME and _PARTS["device_id"].fullmatch(text) is not None


@dataclass(frozen=True)
class TopicSpace:
    """All topics under one root, for instance `argosy/v1`."""

    root: str = ROOT_DEFAULT
    _segments: dict[Kind, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,7}", self.root):
            raise TopicError(f"{self.root!r} is no topic root; use words joined by '/'")
        segments = {kind: tuple(p.template.split("/")) for kind, p in PATTERNS.items()}
        object.__setattr__(self, "_segments", segments)

    def render(self, topic: Topic) -> str:
        """The topic's text. Raises TopicError where a part is missing or malformed."""
        return f"{self.root}/" + "/".join(
            self._part(segment, topic) for segment in self._segments[topic.kind]
        )

    def parse(self, text: str) -> Topic:
        """The topic that `text` is. Raises TopicError for any other text."""
        prefix = self.root + "/"
        if len(text) > TOPIC_BYTES_MAX or not text.startswith(prefix):
            raise TopicError(f"{text[:80]!r} is not under {prefix}")
        words = tuple(text[len(prefix) :].split("/"))
        for kind, segments in self._segments.items():
            parts = _match(segments, words)
            if parts is not None:
                index = int(parts.pop("index", "-1"))
                return Topic(kind, index=index, **parts)
        raise TopicError(f"{text[:80]!r} is no topic of ours")

    def filter(self, kind: Kind, device_id: str = "", sha256: str = "") -> str:
        """A subscription filter for a kind: the parts that are not given become '+'."""
        given = {"device_id": device_id, "sha256": sha256}
        return f"{self.root}/" + "/".join(
            (given.get(segment[1:-1]) or "+") if segment.startswith("{") else segment
            for segment in self._segments[kind]
        )

    def _part(self, segment: str, topic: Topic) -> str:
        if not segment.startswith("{"):
            return segment
        name = segment[1:-1]
        value = str(getattr(topic, name))
        if _PARTS[name].fullmatch(value) is None:
            raise TopicError(f"{value[:80]!r} is no {name} for a {topic.kind.value} topic")
        return value


def _match(segments: tuple[str, ...], words: tuple[str, ...]) -> dict[str, str] | None:
    if len(segments) != len(words):
        return None
    parts: dict[str, str] = {}
    for segment, word in zip(segments, words, strict=True):
        if segment.startswith("{"):
            if _PARTS[segment[1:-1]].fullmatch(word) is None:
                return None
            parts[segment[1:-1]] = word
        elif segment != word:
            return None
    return parts


def mosquitto_acl(space: TopicSpace) -> str:
    """Access rules for a Mosquitto broker whose user names are device ids.

    A device reads what is addressed to it and to many, and writes only under its own
    id; the hub's user reads and writes everything under the root.
    """
    lines = [f"user {HUB_USERNAME}", f"topic readwrite {space.root}/#", ""]
    for kind, pattern in PATTERNS.items():
        access = "write" if pattern.direction is Direction.FROM_DEVICE else "read"
        lines.append(f"pattern {access} {space.filter(kind, device_id='%u')}")
    return "\n".join(lines) + "\n"
