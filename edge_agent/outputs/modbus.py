"""Rules as coils of a Modbus TCP device.

A coil shows whether its rule holds. One with a pulse is set when the rule begins to hold
and cleared `pulse_ms` later; a pulse that an outage delayed is not made up for, because it
would reject another piece than the one that was seen.

The heartbeat speaks for the cameras too: it stands still while a coil's rule is blind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import structlog
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from edge_agent.clock import Clock
from edge_agent.errors import OutputError
from edge_agent.outputs.levels import Levels
from edge_agent.outputs.settings import CoilSection, ModbusSection
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.writer import LineDownError, Writer, attempt_all

REGISTER_VALUES = 65_536

log = structlog.get_logger(__name__)


class ModbusWriter(Writer):
    """Writer `modbus`."""

    takes = frozenset({SignalKind.RULE})
    holds = frozenset({SignalKind.RULE})

    def __init__(
        self, section: ModbusSection, clock: Clock, silent: Callable[[str, float], bool]
    ) -> None:
        self._section, self._clock, self._silent = section, clock, silent
        self.clears = section.clear_on_stop
        self._blind: tuple[str, ...] = ()
        self._coils = {coil.rule: coil for coil in section.coils}
        self._levels = Levels()
        self._pulse_ends: dict[int, float] = {}
        self._check_at = 0.0
        self._beats = 0
        self._client: ModbusTcpClient | None = None
        # The channel says once what the library says at every try.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

    def open(self, _wake: Callable[[], None]) -> None:
        section = self._section
        client = ModbusTcpClient(
            section.host, port=section.port, timeout=section.timeout_s, retries=0
        )
        if not client.connect():  # type: ignore[no-untyped-call]
            raise LineDownError(f"{self} cannot be reached; it is tried again")
        self._client = client

    def restore(self, states: Sequence[Signal]) -> None:
        """Every coil, also those of rules that never held: an earlier life may have set them."""
        self._levels = Levels(states)
        self._pulse_ends.clear()
        attempt_all(
            lambda coil=coil: self._set(coil, coil.pulse_ms is None and self._levels[coil.rule])  # type: ignore[misc]
            for coil in self._coils.values()
        )

    def write(self, signal: Signal) -> None:
        coil = self._coils.get(signal.source)
        if coil is None:
            raise OutputError(
                f"{self} has no coil for the rule {signal.source}; add it to channels.coils"
            )
        held = self._levels[coil.rule]
        self._levels.apply(signal)
        holds = self._levels[coil.rule]
        if coil.pulse_ms is None:
            self._set(coil, holds)
        elif holds and not held:
            self._set(coil, True)
            self._pulse_ends[coil.address] = self._clock.monotonic() + coil.pulse_ms / 1000

    def tick(self) -> float:
        now_s = self._clock.monotonic()
        for address, end_s in tuple(self._pulse_ends.items()):
            if end_s <= now_s:
                self._write_coil(address, False)
                del self._pulse_ends[address]
        if now_s >= self._check_at:
            self._check_at = now_s + self._section.check_every_s
            if self._sees() and self._has_heartbeat:
                self._beat()
            else:
                self._look()
        return max(0.0, min([self._check_at, *self._pulse_ends.values()]) - now_s)

    def leave(self) -> None:
        if self.clears:
            attempt_all(
                lambda coil=coil: self._set(coil, False)  # type: ignore[misc]
                for coil in self._coils.values()
            )

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()  # type: ignore[no-untyped-call]

    def __str__(self) -> str:
        return f"the Modbus device {self._section.host}:{self._section.port}"

    def _set(self, coil: CoilSection, value: bool) -> None:
        self._write_coil(coil.address, value)

    def _write_coil(self, address: int, value: bool) -> None:
        self._request(
            f"coil {address}",
            lambda client: client.write_coil(address, value, device_id=self._section.unit),
        )

    def _beat(self) -> None:
        """Show that the agent lives and sees."""
        section = self._section
        self._beats = (self._beats + 1) % REGISTER_VALUES
        if section.heartbeat_coil is not None:
            self._write_coil(section.heartbeat_coil, bool(self._beats % 2))
        if section.heartbeat_register is not None:
            address = section.heartbeat_register
            self._request(
                f"register {address}",
                lambda client: client.write_register(address, self._beats, device_id=section.unit),
            )

    def _look(self) -> None:
        """See that the device lives, where there is nothing to show it."""
        section, address = self._section, self._section.coils[0].address
        self._request(
            f"coil {address}",
            lambda client: client.read_coils(address, count=1, device_id=section.unit),
        )

    @property
    def _has_heartbeat(self) -> bool:
        section = self._section
        return section.heartbeat_coil is not None or section.heartbeat_register is not None

    def _sees(self) -> bool:
        """Whether every camera of every coil's rule gives results; says so when it changes."""
        after_s = self._section.silent_after_s
        blind = tuple(rule for rule in self._coils if self._silent(rule, after_s))
        changed, self._blind = blind != self._blind, blind
        if changed and self._has_heartbeat:
            if blind:
                log.warning("heartbeat_stopped", channel=self._section.id, blind_rules=blind)
            else:
                log.info("heartbeat_goes_on", channel=self._section.id)
        return not blind

    def _request(self, what: str, send: Callable[[ModbusTcpClient], ModbusPDU]) -> None:
        client = self._client
        # The library would connect again by itself, and the states would not be restored.
        if client is None or not client.connected:
            raise LineDownError(f"{self} is not connected")
        try:
            answer = send(client)
        except (ModbusException, OSError) as error:
            raise LineDownError(f"{self} was lost at {what}: {error}") from error
        if answer.isError():
            raise OutputError(
                f"{self} refused {what} (unit {self._section.unit}): {answer}; correct the "
                "address or the unit"
            )
