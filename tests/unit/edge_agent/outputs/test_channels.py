from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import TypeAdapter

from edge_agent.clock import Clock
from edge_agent.errors import OutputError
from edge_agent.outputs.channels import EXTRAS, WRITERS, Site, channels
from edge_agent.outputs.settings import AnyChannel, OpcUaSection, WebhookSection
from edge_agent.outputs.webhook import WebhookWriter
from edge_agent.store import Store
from tests.unit.edge_agent.outputs.test_settings import GOOD

READER: TypeAdapter[AnyChannel] = TypeAdapter(AnyChannel)
PACKAGES = {
    "webhook": "httpx",
    "mqtt": "paho",
    "csv": None,
    "modbus": "pymodbus",
    "opcua": "asyncua",
    "sparkplug": "google.protobuf",
}


def build(tmp_path: Path, *kinds: str) -> Any:
    sections = [READER.validate_python({"id": k, "type": k, **GOOD[k]}) for k in kinds]
    return channels(sections, Site("device-1", Store(tmp_path), Clock()), Random(1))


def test_every_type_has_a_writer_and_says_what_installs_it() -> None:
    assert set(WRITERS) == set(EXTRAS) == set(GOOD) == set(PACKAGES)


@pytest.mark.parametrize("kind", GOOD)
def test_a_channel_of_each_type_is_made(kind: str, tmp_path: Path) -> None:
    if (package := PACKAGES[kind]) is not None:
        pytest.importorskip(package, reason=f"argosy[{EXTRAS[kind]}] is not installed")
    made = build(tmp_path, kind)
    assert list(made) == [kind]
    assert made[kind].detections is (kind == "sparkplug")
    made[kind].close(0.1)


def test_a_message_of_a_url_has_no_credentials() -> None:
    url = "://user:s3cret@mes:4840/hook"
    webhook = READER.validate_python(
        {"id": "w", "type": "webhook", "url": f"https{url}?token=s3cret#s3cret"}
    )
    assert isinstance(webhook, WebhookSection)
    assert str(WebhookWriter(webhook, "device-1")) == "the webhook https://mes:4840/hook"
    pytest.importorskip("asyncua", reason="argosy[edge-opcua] is not installed")
    from edge_agent.outputs.opcua import OpcUaWriter

    keys = {**GOOD["opcua"], "id": "o", "type": "opcua", "url": f"opc.tcp{url}"}
    opcua = READER.validate_python(keys)
    assert isinstance(opcua, OpcUaSection)
    assert str(OpcUaWriter(opcua)) == "the OPC UA server opc.tcp://mes:4840/hook"


@pytest.mark.parametrize("kind", ["modbus", "opcua", "sparkplug"])
def test_a_missing_package_is_named_with_what_installs_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = str(PACKAGES[kind])
    for name in [m for m in sys.modules if m.startswith(f"edge_agent.outputs.{kind}")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [m for m in sys.modules if m == package or m.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OutputError, match=rf"argosy\[edge-{kind}\]"):
        build(tmp_path, kind)
