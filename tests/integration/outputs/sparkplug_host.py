"""A host application as the specification has it, with the decoder of another package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from tests.integration.outputs.listener import Heard

GROUP, NODE = "line-3", "box-1"
VALUE_OF = {4: "long_value", 10: "double_value", 11: "boolean_value", 12: "string_value"}


@dataclass(frozen=True)
class Certificate:
    """One message, decoded."""

    verb: str
    camera: str | None
    seq: int | None
    metrics: dict[str, Any]


def decode(heard: Heard) -> Certificate:
    """The message as the generated code of esio-spb-builder reads it."""
    from esio_spb_builder.core import sparkplug_b_pb2  # type: ignore[import-untyped]

    namespace, group, verb, node, *camera = heard.topic.split("/")
    assert (namespace, group, node) == ("spBv1.0", GROUP, NODE)
    payload = sparkplug_b_pb2.Payload.FromString(heard.payload)
    assert payload.timestamp > 0
    for message in (payload, *payload.metrics):
        assert len(UnknownFieldSet(message)) == 0
    seq = payload.seq if payload.HasField("seq") else None
    metrics = {metric.name: _value(metric) for metric in payload.metrics}
    assert len(metrics) == len(payload.metrics), "every name once"
    return Certificate(verb, camera[0] if camera else None, seq, metrics)


def command(name: str) -> bytes:
    """A command that sets the Boolean `name`, encoded by the other package too."""
    from esio_spb_builder.core import sparkplug_b_pb2

    payload = sparkplug_b_pb2.Payload(timestamp=1)
    payload.metrics.add(name=name, datatype=11, boolean_value=True)
    return bytes(payload.SerializeToString())


def _value(metric: Any) -> Any:
    assert metric.timestamp > 0
    if metric.is_null:
        assert metric.WhichOneof("value") is None
        return None
    assert metric.WhichOneof("value") == VALUE_OF[metric.datatype]
    return getattr(metric, metric.WhichOneof("value"))


def check_session(certificates: list[Certificate]) -> None:
    """What the specification asks of the order: births first, numbers in a row, known names."""
    expected: int | None = None
    born: dict[str | None, set[str]] = {}
    for certificate in certificates:
        verb, camera = certificate.verb, certificate.camera
        if verb == "NDEATH":
            assert certificate.seq is None
            assert set(certificate.metrics) == {"bdSeq"}
            expected, born = None, {}
            continue
        if verb == "NBIRTH":
            expected, born = 0, {}
        assert expected is not None, f"{verb} before NBIRTH"
        assert certificate.seq == expected, f"{verb} {camera}"
        expected = (expected + 1) % 256
        if verb in {"NBIRTH", "DBIRTH"}:
            born[camera] = set(certificate.metrics)
        elif verb == "DDEATH":
            del born[camera]
        else:
            assert set(certificate.metrics) <= born[camera], f"{verb} names what was not born"
