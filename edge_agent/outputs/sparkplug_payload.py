"""Sparkplug B payloads, as bytes.

The message is described here as data, with the field numbers of the specification, and read
by protobuf's own runtime: no generated module that asks for a certain version of it, and a
descriptor pool of our own, so that another package with the same message can be loaded too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from edge_agent.errors import OutputError

PAYLOAD_BYTES_MAX = 64 * 1024
INT64_SPAN = 2**64

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "argosy.sparkplug"
_METRIC_FIELDS = (
    ("name", 1, _Field.TYPE_STRING),
    ("timestamp", 3, _Field.TYPE_UINT64),
    ("datatype", 4, _Field.TYPE_UINT32),
    ("is_null", 7, _Field.TYPE_BOOL),
)
_VALUE_FIELDS = (
    ("long_value", 11, _Field.TYPE_UINT64),
    ("double_value", 13, _Field.TYPE_DOUBLE),
    ("boolean_value", 14, _Field.TYPE_BOOL),
    ("string_value", 15, _Field.TYPE_STRING),
)


class DataType(IntEnum):
    """The specification's numbers of the data types that are used here."""

    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


_VALUE_OF = {
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
}


@dataclass(frozen=True)
class Metric:
    """A named value; None is the specification's null. `at_ms` is Unix time."""

    name: str
    datatype: DataType
    value: bool | int | float | str | None
    at_ms: int


def encode(metrics: tuple[Metric, ...], at_ms: int, seq: int | None) -> bytes:
    """A payload; `seq` None is that of a death certificate of a node, which has none."""
    payload = _payload_class()(timestamp=at_ms)
    if seq is not None:
        payload.seq = seq
    for metric in metrics:
        made = payload.metrics.add(
            name=_text(metric.name), timestamp=metric.at_ms, datatype=int(metric.datatype)
        )
        if metric.value is None:
            made.is_null = True
        elif metric.datatype is DataType.INT64:
            made.long_value = int(metric.value) % INT64_SPAN
        elif isinstance(metric.value, str):
            made.string_value = _text(metric.value)
        else:
            setattr(made, _VALUE_OF[metric.datatype], metric.value)
    return bytes(payload.SerializeToString())


def asks_for(command: bytes, name: str) -> bool:
    """Whether a command sets the Boolean `name`. Raises OutputError where it is no payload."""
    if len(command) > PAYLOAD_BYTES_MAX:
        raise OutputError(f"a Sparkplug command has {len(command)} bytes; it is ignored")
    try:
        payload = _payload_class().FromString(command)
    except DecodeError as error:
        raise OutputError(f"a Sparkplug command is no payload: {error}; it is ignored") from error
    return any(m.name == name and m.boolean_value for m in payload.metrics)


def _text(value: str) -> str:
    """Half a surrogate pair, which JSON can name a class with, is no text to protobuf."""
    return value.encode("utf-8", "replace").decode()


@lru_cache(maxsize=1)
def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="argosy_sparkplug_b.proto", package=_PACKAGE, syntax="proto2"
    )
    metric = file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for name, number, kind in _METRIC_FIELDS:
        _add(metric, name, number, kind)
    for name, number, kind in _VALUE_FIELDS:
        _add(metric, name, number, kind).oneof_index = 0
    payload = file.message_type.add(name="Payload")
    _add(payload, "timestamp", 1, _Field.TYPE_UINT64)
    metrics = _add(payload, "metrics", 2, _Field.TYPE_MESSAGE)
    metrics.label = _Field.LABEL_REPEATED
    metrics.type_name = f".{_PACKAGE}.Metric"
    _add(payload, "seq", 3, _Field.TYPE_UINT64)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


def _add(
    message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: Any
) -> descriptor_pb2.FieldDescriptorProto:
    return message.field.add(name=name, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
