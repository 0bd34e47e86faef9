"""Whether a bundle is taken on: every reason against it, and nothing raised."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.observe.hardware import capabilities
from edge_agent.update.trust import Accepted, Claim, Facts, Refusal, Refused, judge
from protocol.bundles import MANIFEST_BYTES_MAX, MANIFEST_PATH
from protocol.chunks import sha256_hex
from tests.fixtures.models import write_bundle

FACTS = Facts(capabilities(), 10**9, {})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    folder: Path = tmp_path_factory.mktemp("bundle") / "b"
    digest, _ = write_bundle(folder, version=3)
    return (folder / MANIFEST_PATH).read_bytes(), digest


def test_what_was_promised_and_fits_is_accepted(bundle: tuple[bytes, str]) -> None:
    manifest_bytes, digest = bundle
    answer = judge(manifest_bytes, Claim(digest), FACTS, 0.0)
    assert isinstance(answer, Accepted)
    manifest = answer.manifest
    claim = Claim(digest, manifest.model, manifest.version)
    assert isinstance(judge(manifest_bytes, claim, FACTS, 0.0), Accepted)


def refusal(manifest_bytes: bytes, claim: Claim, facts: Facts) -> Refusal:
    answer = judge(manifest_bytes, claim, facts, 0.0)
    assert isinstance(answer, Refused)
    assert answer.reason
    return answer.refusal


def test_each_reason_against_a_bundle(bundle: tuple[bytes, str]) -> None:
    raw, digest = bundle
    accepted = judge(raw, Claim(digest), FACTS, 0.0)
    assert isinstance(accepted, Accepted)
    model = accepted.manifest.model
    assert refusal(raw, Claim("0" * 64), FACTS) is Refusal.DIGEST
    assert refusal(raw, Claim(digest, model, 4), FACTS) is Refusal.PROMISE
    assert refusal(raw, Claim(digest, "other", 3), FACTS) is Refusal.PROMISE
    assert refusal(raw, Claim(digest), Facts(None, 10, {})) is Refusal.SIZE
    assert refusal(raw, Claim(digest), Facts(None, 10**9, {model: 4})) is Refusal.REVOKED
    bare = capabilities().model_copy(update={"runtimes": ()})
    assert refusal(raw, Claim(digest), Facts(bare, 10**9, {})) is Refusal.FIT
    large = b" " * (MANIFEST_BYTES_MAX + 1)
    assert refusal(large, Claim(sha256_hex(large)), FACTS) is Refusal.SIZE


@pytest.mark.parametrize("floor", [1, 2, 3])
def test_at_or_above_the_floor_it_may_serve(bundle: tuple[bytes, str], floor: int) -> None:
    raw, digest = bundle
    facts = Facts(None, 10**9, {"tiny": floor, "another": 99})
    assert isinstance(judge(raw, Claim(digest), facts, 0.0), Accepted)


@given(st.binary(max_size=2000))
def test_any_bytes_get_an_answer(raw: bytes) -> None:
    assert refusal(raw, Claim("0" * 64), FACTS) is Refusal.DIGEST
    assert refusal(raw, Claim(sha256_hex(raw)), FACTS) is Refusal.MALFORMED


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_manifest_with_one_byte_changed_is_another(place: int, value: int) -> None:
    raw = b'{"format_version": 1, "model": "m"}' * 12
    spoilt = raw[:place] + bytes([value]) + raw[place + 1 :]
    if spoilt != raw:
        assert refusal(spoilt, Claim(sha256_hex(raw)), FACTS) is Refusal.DIGEST
