from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import TopicError
from protocol.topics import (
    HUB_USERNAME,
    Direction,
    Kind,
    Topic,
    TopicSpace,
    mosquitto_acl,
    valid_device_id,
)
from tests.unit.protocol import strategies as our

SPACE = TopicSpace()


@given(our.topics(), st.sampled_from(["argosy/v1", "plant-7/vision/argosy/v1", "x"]))
def test_a_topic_renders_to_text_that_parses_back(topic: Topic, root: str) -> None:
    space = TopicSpace(root)
    assert space.parse(space.render(topic)) == topic


@given(st.text() | st.text().map(lambda t: f"argosy/v1/{t}"))
def test_any_other_text_raises_the_packages_own_error(text: str) -> None:
    try:
        topic = SPACE.parse(text)
    except TopicError:
        return
    assert SPACE.render(topic) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "argosy/v1",
        "argosy/v1/devices/a",
        "argosy/v1/devices/+/desired",
        "argosy/v1/devices/a/b/desired",
        "argosy/v2/devices/a/desired",
        "argosy/v1/blobs/abc/0",
        f"argosy/v1/blobs/{'a' * 64}/01",
        "argosy/v1/trust/../secret",
        "argosy/v1/devices/" + "a" * 65 + "/desired",
    ],
)
def test_near_misses_are_refused(text: str) -> None:
    with pytest.raises(TopicError):
        SPACE.parse(text)


def test_a_missing_part_is_named() -> None:
    with pytest.raises(TopicError, match="device_id"):
        SPACE.render(Topic(Kind.DESIRED))


@pytest.mark.parametrize("root", ["", "/a", "a/", "a b", "a/+", "#", "/".join("a" * 9)])
def test_roots_that_no_broker_should_see_are_refused(root: str) -> None:
    with pytest.raises(TopicError):
        TopicSpace(root)


def test_filters_widen_what_is_not_given() -> None:
    assert SPACE.filter(Kind.REPORTED) == "argosy/v1/devices/+/reported"
    assert SPACE.filter(Kind.SAMPLE_CHUNK, device_id="a") == "argosy/v1/devices/a/samples/+/+"
    assert SPACE.filter(Kind.BLOB_CHUNK, sha256="b" * 64) == f"argosy/v1/blobs/{'b' * 64}/+"


def test_the_broker_rules_let_a_device_write_only_under_its_own_id() -> None:
    rules = mosquitto_acl(SPACE).splitlines()
    patterns = [line.split()[1:] for line in rules if line.startswith("pattern")]
    assert len(patterns) == len(Kind)
    assert all("/%u/" in topic for access, topic in patterns if access == "write")
    assert not [t for a, t in patterns if a == "write" and t.endswith(("/desired", "/acks"))]
    assert rules[:2] == ["user hub", "topic readwrite argosy/v1/#"]


def test_no_device_can_be_called_as_the_hub_is() -> None:
    assert not valid_device_id(HUB_USERNAME)
    assert valid_device_id("hub-1")


def test_every_kind_is_published_by_somebody() -> None:
    directions = {Direction(d) for d in Direction}
    assert directions == {Direction.TO_DEVICE, Direction.FROM_DEVICE, Direction.TO_MANY}
