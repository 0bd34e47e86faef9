"""An OPC UA server of asyncua in a process of its own: it can be killed and come back.

Run as `python -m tests.integration.outputs.opcua_server PORT`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import ROOT
from tests.integration.brokers import wait_for_port
from tests.ports import free_port

VARIABLES: dict[str, tuple[str, Any]] = {
    "Reject": ("Boolean", False),
    "Other": ("Boolean", True),
    "RejectWord": ("Int16", 0),
    "Count": ("UInt32", 7),
    "Byte": ("Byte", 7),
    "State": ("String", ""),
    "Level": ("Double", 0.0),
    "ReadOnly": ("Boolean", False),
    "When": ("DateTime", None),
}


def node(name: str) -> str:
    return f"ns=2;s=Line1.{name}"


def serve(port: int) -> None:
    import asyncio

    asyncio.run(_serve(port))


async def _serve(port: int) -> None:
    import asyncio
    from datetime import datetime, timezone

    from asyncua import ua
    from asyncua.server.server import Server

    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    await server.register_namespace("urn:line")
    for name, (kind, value) in VARIABLES.items():
        start = datetime.now(timezone.utc) if kind == "DateTime" else value
        variable = await server.nodes.objects.add_variable(
            ua.NodeId.from_string(node(name)), f"2:{name}", start, ua.VariantType[kind]
        )
        if name != "ReadOnly":
            await variable.set_writable()
    async with server:
        await asyncio.Event().wait()


class UaServer:
    """The process, and a client of the tests' own that reads what it holds."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(self.port)],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def read(self, *names: str) -> list[Any]:
        """The values, each with the data type that the server says it has."""
        from asyncua.sync import Client

        with Client(self.url) as client:
            found = [client.get_node(node(n)).read_data_value() for n in names]
        return [(v.Value.VariantType.name, v.Value.Value) for v in found]

    def values(self, *names: str) -> list[Any]:
        return [value for _, value in self.read(*names)]


@contextmanager
def opcua_server() -> Iterator[UaServer]:
    server = UaServer()
    server.start()
    try:
        yield server
    finally:
        server.kill()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
