"""A Modbus TCP device of pymodbus in a process of its own: it can be killed and come back.

Run as `python -m tests.integration.outputs.modbus_server PORT`.
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

COILS = 64


def serve(port: int) -> None:
    from pymodbus.server import StartTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    coils = [SimData(address=0, values=[False] * COILS, datatype=DataType.BITS)]
    words = [SimData(address=0, values=[0] * COILS, datatype=DataType.REGISTERS)]
    StartTcpServer(
        SimDevice(id=1, simdata=(coils, coils, words, words)), address=("127.0.0.1", port)
    )


class Device:
    """The process, and a client of the tests' own that reads what it holds."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(self.port)], cwd=ROOT
        )
        wait_for_port(self.port)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def coils(self, *addresses: int) -> list[bool]:
        return [bool(self._ask("read_coils", a, count=1).bits[0]) for a in addresses]

    def register(self, address: int) -> int:
        return int(self._ask("read_holding_registers", address, count=1).registers[0])

    def set(self, address: int, value: bool) -> None:
        self._ask("write_coil", address, value)

    def _ask(self, what: str, *arguments: Any, **keys: Any) -> Any:
        from pymodbus.client import ModbusTcpClient

        with ModbusTcpClient("127.0.0.1", port=self.port, timeout=5) as client:
            answer = getattr(client, what)(*arguments, **keys, device_id=1)
        assert not answer.isError(), answer
        return answer


@contextmanager
def modbus_device() -> Iterator[Device]:
    device = Device()
    device.start()
    try:
        yield device
    finally:
        device.kill()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
