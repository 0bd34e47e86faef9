from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from edge_agent.errors import OutputError
from edge_agent.outputs.settings import (
    AnyChannel,
    CsvSection,
    MqttSection,
    OpcUaSection,
    SparkplugSection,
    WebhookSection,
)
from edge_agent.section import rooted

READER: TypeAdapter[AnyChannel] = TypeAdapter(AnyChannel)

GOOD: dict[str, dict[str, Any]] = {
    "webhook": {"url": "https://mes.local/hook"},
    "mqtt": {"host": "broker"},
    "csv": {"path": "stock.csv"},
    "modbus": {"host": "plc", "coils": [{"rule": "red", "address": 3}]},
    "opcua": {"url": "opc.tcp://plc:4840", "nodes": [{"source": "red", "node": "ns=2;s=A.B"}]},
    "sparkplug": {"host": "broker", "group": "line", "edge_node": "box"},
}


def read(kind: str, **changes: Any) -> AnyChannel:
    return READER.validate_python({"id": "out", "type": kind, **GOOD[kind], **changes})


@pytest.mark.parametrize("kind", GOOD)
def test_each_type_is_read_by_its_own_table(kind: str) -> None:
    section = read(kind)
    assert section.type == kind
    assert section.detections is (kind == "sparkplug")


COIL = {"rule": "red", "address": 3}
NODE = {"source": "red", "node": "ns=2;s=A"}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("webhook", {"url": "ftp://mes/hook"}),
        ("webhook", {"url": "mes.local"}),
        ("webhook", {"url": "http://[mes/hook"}),
        ("webhook", {"url": "http://mes:port/hook"}),
        ("webhook", {"token": "a", "token_file": "b"}),
        ("webhook", {"token": "two\nlines"}),
        ("webhook", {"queue_max": 0}),
        ("webhook", {"timeout_s": float("nan")}),
        ("webhook", {"time_out_s": 1}),
        ("webhook", {"retries_max": -1}),
        ("mqtt", {"qos": 3}),
        ("mqtt", {"port": 0}),
        ("mqtt", {"topic_root": "a/#"}),
        ("mqtt", {"topic_root": "/a"}),
        ("mqtt", {"topic_root": "$SYS"}),
        ("mqtt", {"password": "a", "password_file": "b"}),
        ("csv", {"detections": True}),
        ("csv", {"rotate_bytes": 0}),
        ("modbus", {"coils": []}),
        ("modbus", {"coils": [COIL, {"rule": "blue", "address": 3}]}),
        ("modbus", {"coils": [COIL, {"rule": "red", "address": 4}]}),
        ("modbus", {"coils": [{"rule": "red", "address": 65_536}]}),
        ("modbus", {"coils": [{"rule": "red", "address": 3, "pulse_ms": 0}]}),
        ("modbus", {"heartbeat_coil": 3}),
        ("modbus", {"unit": 256}),
        ("modbus", {"detections": True}),
        ("opcua", {"url": "http://plc"}),
        ("opcua", {"nodes": [{"source": "red", "node": "Line1.Reject"}]}),
        ("opcua", {"nodes": [NODE, {"source": "blue", "node": "ns=2;s=A"}]}),
        ("sparkplug", {"group": "a/b"}),
        ("sparkplug", {"edge_node": "+"}),
        ("sparkplug", {"detections": False}),
    ],
)
def test_what_cannot_work_is_refused(kind: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(kind, **changes)


def test_an_unknown_type_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(ValidationError, match=r"webhook.*sparkplug"):
        READER.validate_python({"id": "out", "type": "fax"})


@pytest.mark.parametrize("kind", ["webhook", "mqtt", "opcua", "sparkplug"])
def test_secrets_are_not_shown(kind: str) -> None:
    key = "token" if kind == "webhook" else "password"
    assert "s3cret" not in repr(read(kind, **{key: "s3cret"}))


def test_secrets_come_from_a_value_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    webhook, mqtt = read("webhook", token_file=file), read("mqtt", password_file=file)
    assert isinstance(webhook, WebhookSection)
    assert isinstance(mqtt, MqttSection)
    assert (webhook.read_token(), mqtt.read_password()) == ("s3cret", "s3cret")
    opcua = read("opcua", password="here")
    assert isinstance(opcua, OpcUaSection)
    assert opcua.read_password() == "here"
    file.unlink()
    with pytest.raises(OutputError, match=r"channels\.out\.token_file.*correct the path"):
        webhook.read_token()


def test_relative_paths_are_seen_from_the_folder_of_the_file(tmp_path: Path) -> None:
    csv = rooted(read("csv", path="feed/stock.csv"), tmp_path)
    mqtt = rooted(read("mqtt", password_file="secret", ca_file="/etc/ca.pem"), tmp_path)
    assert isinstance(csv, CsvSection)
    assert isinstance(mqtt, MqttSection)
    assert csv.path == tmp_path / "feed" / "stock.csv"
    assert (mqtt.password_file, mqtt.ca_file) == (tmp_path / "secret", Path("/etc/ca.pem"))


def test_a_sparkplug_node_is_told_every_frame() -> None:
    section = read("sparkplug")
    assert isinstance(section, SparkplugSection)
    assert section.detections
