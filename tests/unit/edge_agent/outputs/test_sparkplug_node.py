from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import OutputError
from edge_agent.outputs.signals import Signal
from tests.unit.edge_agent.outputs.line_peer import detections, rule, stock

pytest.importorskip("google.protobuf", reason="argosy[edge-sparkplug] is not installed")
tahu = pytest.importorskip(
    "esio_spb_builder.core.sparkplug_b_pb2",
    reason="the decoder esio-spb-builder is not installed (it needs Python 3.11)",
)

from edge_agent.outputs.sparkplug_node import REBIRTH, EdgeNode, Message, death  # noqa: E402
from edge_agent.outputs.sparkplug_payload import (  # noqa: E402
    DataType,
    Metric,
    asks_for,
    encode,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
VALUES = st.one_of(
    st.tuples(st.just(DataType.INT64), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(DataType.DOUBLE), st.floats(allow_nan=False)),
    st.tuples(st.just(DataType.BOOLEAN), st.booleans()),
    st.tuples(st.just(DataType.STRING), st.text(st.characters(exclude_categories=["Cs"]))),
    st.tuples(st.sampled_from(DataType), st.none()),
)
FIELDS = {4: "long_value", 10: "double_value", 11: "boolean_value", 12: "string_value"}


def value_of(metric: Any) -> Any:
    if metric.is_null:
        return None
    value = getattr(metric, FIELDS[metric.datatype])
    return value - 2**64 if metric.datatype == 4 and value >= 2**63 else value


@given(named=st.lists(st.tuples(NAMES, VALUES), max_size=8), seq=st.none() | st.integers(0, 255))
def test_another_decoder_reads_what_was_meant(named: list[Any], seq: int | None) -> None:
    metrics = tuple(Metric(name, kind, value, 17) for name, (kind, value) in named)
    payload = tahu.Payload.FromString(encode(metrics, 18, seq))
    assert payload.timestamp == 18
    assert (payload.seq if payload.HasField("seq") else None) == seq
    found = [(m.name, m.datatype, value_of(m), m.timestamp) for m in payload.metrics]
    assert found == [(m.name, int(m.datatype), m.value, 17) for m in metrics]


def test_half_a_surrogate_pair_is_replaced() -> None:
    (metric,) = tahu.Payload.FromString(
        encode((Metric("a\ud800", DataType.STRING, "\udfff", 1),), 1, 0)
    ).metrics
    assert (metric.name, metric.string_value) == ("a?", "?")


@given(command=st.binary(max_size=200))
def test_any_command_is_read_or_refused(command: bytes) -> None:
    try:
        asks_for(command, REBIRTH)
    except OutputError:
        return


def test_a_command_counts_only_where_it_says_yes() -> None:
    for value, expected in ((True, True), (False, False)):
        payload = tahu.Payload()
        payload.metrics.add(name=REBIRTH, datatype=11, boolean_value=value)
        assert asks_for(payload.SerializeToString(), REBIRTH) is expected


def names_of(message: Message) -> set[str]:
    return {m.name for m in tahu.Payload.FromString(message.payload).metrics}


SIGNALS = st.one_of(
    st.builds(rule, st.sampled_from("ab"), st.booleans(), camera=st.sampled_from(["c1", "c2"])),
    st.builds(detections, st.sampled_from(["c1", "c2"]), bundle_digest=st.sampled_from(["x", "y"])),
    st.builds(
        stock,
        st.sampled_from(["s", "t"]),
        st.lists(
            st.tuples(
                st.sampled_from(["cola", "tea"]), st.none() | st.integers(0, 3), st.just("LOW")
            ),
            max_size=2,
            unique_by=lambda item: item[0],
        ),
    ),
)


@given(steps=st.lists(SIGNALS | st.sampled_from(["birth", "rates", "silence"]), max_size=40))
def test_whatever_is_told_was_born_and_the_numbers_are_in_a_row(
    steps: list[Signal | str],
) -> None:
    node = EdgeNode("device-1")
    messages = list(node.births(3, 1))
    for step in steps:
        if isinstance(step, Signal):
            messages += node.tell(step, 2)
        elif step == "birth":
            messages += node.births(3, 3)
        elif step == "rates":
            messages += node.rates(1.0, 4)
        else:
            messages += node.silences(2.0, 5)
    born: dict[str | None, set[str]] = {}
    seq = -1
    for message in messages:
        seq = 0 if message.verb == "NBIRTH" else (seq + 1) % 256
        assert tahu.Payload.FromString(message.payload).seq == seq
        if message.verb == "NBIRTH":
            born = {None: names_of(message)}
        elif message.verb == "DBIRTH":
            born[message.camera] = names_of(message)
        elif message.verb == "DDEATH":
            del born[message.camera]
        else:
            assert names_of(message) <= born[message.camera]


def test_a_frame_that_changes_nothing_says_nothing() -> None:
    node = EdgeNode("device-1")
    node.births(0, 1)
    assert [m.verb for m in node.tell(detections(), 2)] == ["DBIRTH"]
    assert node.tell(detections(), 3) == ()


def test_rates_are_counted_between_calls() -> None:
    node = EdgeNode("device-1")
    node.births(0, 1)
    for _ in range(30):
        node.tell(detections(), 2)
    camera, whole = node.rates(2.0, 3)
    assert (camera.verb, whole.verb) == ("DDATA", "NDATA")
    for message in (camera, whole):
        (metric,) = tahu.Payload.FromString(message.payload).metrics
        assert (metric.name, metric.double_value) == ("frame_rate", 15.0)
    assert [m.verb for m in node.rates(2.0, 4)] == ["DDATA", "NDATA"], "0 is news too"
    assert node.rates(2.0, 5) == ()


def test_a_death_certificate_names_its_session_and_has_no_number() -> None:
    payload = tahu.Payload.FromString(death(7, 1))
    assert not payload.HasField("seq")
    assert [(m.name, m.long_value) for m in payload.metrics] == [("bdSeq", 7)]


def test_detections_without_a_model_are_refused() -> None:
    with pytest.raises(OutputError, match="name no model"):
        EdgeNode("device-1").tell(detections(version=None), 1)
