"""The shipped Mosquitto configuration with paths, ports and owner of a test, and clients."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from cloud.cli.broker import broker as broker_commands
from tests.conftest import ROOT, lacking
from tests.integration.brokers import wait_for_port
from tests.ports import free_port

SHIPPED = ROOT / "deploy" / "mosquitto"
DEADLINE_S = 10.0
STOP_DEADLINE_S = 15.0


@dataclass
class ShippedBroker:
    """A running Mosquitto of ours: its ports, its folder and every user's password."""

    folder: Path
    port: int
    tls_port: int
    passwords: dict[str, str]

    @contextmanager
    def running(self) -> Iterator[None]:
        binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if binary is None:
            lacking("the broker Mosquitto is not installed (apt-get install mosquitto)")
        command = [binary, "-c", str(self.folder / "mosquitto.conf")]
        with (
            (self.folder / "log").open("ab") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as process,
        ):
            try:
                wait_for_port(self.port)
                wait_for_port(self.tls_port)
                yield
            finally:
                process.terminate()
                process.wait(STOP_DEADLINE_S)

    def client(self, user: str, password: str | None = None, *, tls: bool = False) -> Client:
        given = self.passwords.get(user, "") if password is None else password
        return Client(self, user, given, tls=tls)


class Client:
    """A connection that was accepted or refused, and what came in over it."""

    def __init__(self, broker: ShippedBroker, user: str, password: str, *, tls: bool) -> None:
        self.received: Queue[tuple[str, bytes]] = Queue()
        self.refusal = ""
        self.packet_bytes_max = 0
        self._answered = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=user, protocol=mqtt.MQTTv5
        )
        if user:
            self._client.username_pw_set(user, password)
        if tls:
            context = ssl.create_default_context(cafile=str(broker.folder / "tls" / "ca.crt"))
            self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_message = lambda _c, _u, m: self.received.put((m.topic, bytes(m.payload)))
        self._client.on_subscribe = lambda *_: self._answered.set()
        self._codes: dict[int, str] = {}
        self._client.on_publish = self._on_publish
        self._client.connect("localhost" if tls else "127.0.0.1", self._port(broker, tls=tls))
        self._client.loop_start()
        self._wait()

    @staticmethod
    def _port(broker: ShippedBroker, *, tls: bool) -> int:
        return broker.tls_port if tls else broker.port

    def subscribe(self, topic_filter: str) -> None:
        self._client.subscribe(topic_filter, qos=1)
        self._wait()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> str:
        """Publish and wait; the broker's reason."""
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        self._wait()
        return self._codes[info.mid]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _on_connect(self, _c: object, _u: object, _f: object, reason: Any, properties: Any) -> None:
        self.refusal = str(reason) if reason.is_failure else ""
        self.packet_bytes_max = getattr(properties, "MaximumPacketSize", 0)
        self._answered.set()

    def _on_publish(self, _c: object, _u: object, mid: int, reason: object, _p: object) -> None:
        self._codes[mid] = str(reason)
        self._answered.set()

    def _wait(self) -> None:
        assert self._answered.wait(DEADLINE_S), "the broker does not answer"
        self._answered.clear()


def install(folder: Path, users: list[str]) -> ShippedBroker:
    """Lay the shipped files out under `folder`, with both listeners, as the README says."""
    for name in ("secrets", "state", "tls", "listeners"):
        (folder / name).mkdir()
    runner = CliRunner()
    acl = runner.invoke(broker_commands, ["acl"])
    (folder / "secrets" / "acl").write_text(acl.output)
    (folder / "secrets" / "acl").chmod(0o600)
    made = runner.invoke(
        broker_commands, ["passwords", str(folder / "secrets" / "passwords"), *users]
    )
    port, tls_port = free_port(), free_port()
    plain = (SHIPPED / "listeners-plain" / "plain.conf").read_text()
    (folder / "listeners" / "plain.conf").write_text(
        plain.replace("listener 1883", f"listener {port} 127.0.0.1")
    )
    tls = (SHIPPED / "listeners-tls" / "tls.conf").read_text()
    tls = tls.replace("listener 8883", f"listener {tls_port} 127.0.0.1")
    (folder / "listeners" / "tls.conf").write_text(_moved(tls, folder))
    main = (SHIPPED / "mosquitto.conf").read_text()
    (folder / "mosquitto.conf").write_text(_moved(main, folder) + "user root\n")
    return ShippedBroker(folder, port, tls_port, json.loads(made.output))


def _moved(text: str, folder: Path) -> str:
    text = re.sub(r"/etc/mosquitto/", f"{folder}/", text)
    return text.replace("/var/lib/mosquitto/", f"{folder}/state/")
