"""Check: the broker can be reached.

No MQTT session is opened: one with this device's name would end the running agent's.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from edge_agent.config import MqttSection
from edge_agent.doctor.finding import Box, Finding, advice, ok, problem

TIMEOUT_S = 5.0


def check(box: Box) -> Iterator[Finding]:
    if box.config is None:
        return
    mqtt = box.config.mqtt
    if box.live is not None and box.live["link_up"]:
        yield ok(f"{mqtt.host}:{mqtt.port}: the running agent is connected")
    elif mqtt.proxy is not None:
        yield advice(
            f"{mqtt.host}:{mqtt.port} is behind a proxy and was not tried",
            "start the agent; `argosy-agent status` says whether it is connected",
        )
    else:
        yield judge(mqtt.host, mqtt.port, mqtt.tls, _refusal(mqtt))


def judge(host: str, port: int, tls: bool, refusal: str | None) -> Finding:
    """`refusal`: why no connection could be made; None where one could."""
    if refusal is None:
        return ok(f"{host}:{port} accepts {'TLS' if tls else 'TCP'} connections")
    return problem(
        f"{host}:{port} cannot be reached: {refusal}",
        "check mqtt.host, mqtt.port, mqtt.tls, mqtt.ca_file, the network and the broker",
    )


def _refusal(mqtt: MqttSection) -> str | None:
    try:
        with socket.create_connection((mqtt.host, mqtt.port), TIMEOUT_S) as connection:
            if mqtt.tls:
                ca_file = None if mqtt.ca_file is None else str(mqtt.ca_file)
                context = ssl.create_default_context(cafile=ca_file)
                context.wrap_socket(connection, server_hostname=mqtt.host).close()
    except OSError as error:
        return str(error)
    return None
