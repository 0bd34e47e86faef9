from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from protocol.errors import DecodeError, ProtocolError, SchemaVersionError
from protocol.messages import (
    MESSAGE_BYTES_MAX,
    PAYLOADS,
    TrustFile,
    TrustIndex,
    decode,
    decode_trust_index,
    encode,
)
from protocol.topics import PATTERNS, Kind
from tests.unit.protocol.examples import DIGEST, MESSAGES

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("kind", "message"), MESSAGES)
def test_what_is_encoded_decodes_to_the_same(kind: Kind, message: BaseModel) -> None:
    assert decode(kind, encode(message)) == message


def test_every_kind_with_a_json_payload_has_an_example() -> None:
    raw = {Kind.BLOB_CHUNK, Kind.SAMPLE_CHUNK, Kind.TRUST}
    assert {kind for kind, _ in MESSAGES} == set(PAYLOADS) == set(PATTERNS) - raw


@given(
    st.sampled_from(list(PAYLOADS)), st.binary() | json_values.map(lambda v: json.dumps(v).encode())
)
def test_arbitrary_bytes_raise_only_the_packages_own_error(kind: Kind, payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(kind, payload)


@given(st.sampled_from(MESSAGES), st.text(min_size=1, max_size=12), json_values)
def test_a_spoiled_field_never_escapes_as_a_foreign_error(
    example: tuple[Kind, BaseModel], key: str, value: object
) -> None:
    kind, message = example
    fields = json.loads(encode(message))
    for name in [key, *fields]:
        try:
            decode(kind, json.dumps(fields | {name: value}).encode())
        except ProtocolError as error:
            assert kind.value in str(error)


@pytest.mark.parametrize(("kind", "message"), MESSAGES)
def test_unknown_fields_are_kept(kind: Kind, message: BaseModel) -> None:
    fields = json.loads(encode(message)) | {"added_later": {"by": ["a", "newer", "sender"]}}
    again = json.loads(encode(decode(kind, json.dumps(fields).encode())))
    assert again["added_later"] == {"by": ["a", "newer", "sender"]}


@pytest.mark.parametrize(("kind", "message"), MESSAGES)
@pytest.mark.parametrize("version", [0, 2, 999])
def test_an_unknown_schema_version_is_named(kind: Kind, message: BaseModel, version: int) -> None:
    fields = json.loads(encode(message)) | {"schema_version": version}
    with pytest.raises(SchemaVersionError, match=f"version {version}"):
        decode(kind, json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON|utf"),
        (b"[]", "object|dict"),
        (b"[" * 100_000, "JSON|recursion"),
        (b'{"device_id": "../x", "session_epoch": 1}', "device_id"),
        (b" " * (MESSAGE_BYTES_MAX + 1), "over"),
    ],
)
def test_refusals_name_the_kind_and_the_fault(payload: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError, match=rf"(?s)presence:.*({complaint})"):
        decode(Kind.PRESENCE, payload)


def test_a_short_message_cannot_want_more_than_there_can_be() -> None:
    fields = json.loads(encode(dict(MESSAGES)[Kind.WANTS]))
    fields["blobs"] = [{"sha256": DIGEST, "ranges": [[0, 65_536]] * 400}]
    with pytest.raises(DecodeError, match="65536 chunks"):
        decode(Kind.WANTS, json.dumps(fields).encode())


def test_numbers_beyond_what_a_database_holds_are_refused() -> None:
    fields = json.loads(encode(dict(MESSAGES)[Kind.PRESENCE])) | {"session_epoch": 10**23}
    with pytest.raises(DecodeError, match="session_epoch"):
        decode(Kind.PRESENCE, json.dumps(fields).encode())


def test_numbers_that_are_not_finite_are_refused() -> None:
    fields = json.loads(encode(dict(MESSAGES)[Kind.REPORTED]))
    text = json.dumps(fields | {"reported_at": float("nan")})
    with pytest.raises(DecodeError):
        decode(Kind.REPORTED, text.encode())


def test_the_trust_index_decodes() -> None:
    index = TrustIndex(files=(TrustFile(filename="1.root.json", sha256=DIGEST, size_bytes=3),))
    assert decode_trust_index(encode(index)) == index
    with pytest.raises(DecodeError, match="trust index"):
        decode_trust_index(b"{}")
