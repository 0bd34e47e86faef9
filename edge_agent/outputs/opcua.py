"""Rules and stock as variables of an OPC UA server, each in the data type that it has."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, TypeVar

from asyncua import ua
from asyncua.client.client import Client

from edge_agent.cameras.source import without_credentials
from edge_agent.errors import OutputError
from edge_agent.outputs.levels import Levels
from edge_agent.outputs.settings import NodeSection, OpcUaSection
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.stock import stock_items
from edge_agent.outputs.writer import LineDownError, Writer, attempt_all

# The other end refuses this one write; anything else that the library raises ends the session.
REFUSALS = (
    ua.uaerrors.UaStringParsingError,
    ua.uaerrors.BadNodeIdUnknown,
    ua.uaerrors.BadNodeIdInvalid,
    ua.uaerrors.BadNotWritable,
    ua.uaerrors.BadUserAccessDenied,
    ua.uaerrors.BadTypeMismatch,
    ua.uaerrors.BadOutOfRange,
    ua.uaerrors.BadWriteNotSupported,
    ua.uaerrors.BadAttributeIdInvalid,
)
INTEGERS: dict[ua.VariantType, tuple[int, int]] = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1),
    ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
    ua.VariantType.UInt64: (0, 2**64 - 1),
}
FLOATS = frozenset({ua.VariantType.Float, ua.VariantType.Double})

T = TypeVar("T")


class OpcUaWriter(Writer):
    """Writer `opcua`."""

    takes = frozenset({SignalKind.RULE, SignalKind.STOCK})
    holds = frozenset({SignalKind.RULE, SignalKind.STOCK})

    def __init__(self, section: OpcUaSection) -> None:
        self._section = section
        self.clears = section.clear_on_stop
        self._levels = Levels()
        self._loop = _LoopThread(f"opcua-{section.id}", section.timeout_s)
        self._client: Client | None = None
        self._types: dict[str, ua.VariantType] = {}
        # The channel says once what the library says at every try.
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)

    def open(self, _wake: Callable[[], None]) -> None:
        section = self._section
        self._loop.start()
        client = Client(section.url, timeout=section.timeout_s)
        if section.username is not None:
            client.set_user(section.username)
            client.set_password(section.read_password() or "")
        self._types.clear()
        self._client = client
        self._call("the connection", client.connect())

    def restore(self, states: Sequence[Signal]) -> None:
        """Every rule, also one that never held, and the stock that is known."""
        self._levels = Levels(s for s in states if s.kind is SignalKind.RULE)
        stock = [s for s in states if s.kind is SignalKind.STOCK]
        shelves = {s.source for s in stock}
        actions = [
            lambda node=node: self._write(node, self._levels[node.source])
            for node in self._section.nodes
            if node.item is None and node.source not in shelves
        ]
        actions += [lambda signal=signal: self.write(signal) for signal in stock]
        attempt_all(actions)

    def write(self, signal: Signal) -> None:
        nodes = [node for node in self._section.nodes if node.source == signal.source]
        if not nodes:
            raise OutputError(
                f"{self} has no variable for {signal.source}; add it to channels.nodes"
            )
        if signal.kind is SignalKind.STOCK:
            attempt_all(
                lambda node=node, signal=signal: self._write_item(node, signal)  # type: ignore[misc]
                for node in nodes
            )
            return
        self._levels.apply(signal)
        attempt_all(
            lambda node=node: self._write(node, self._levels[node.source])  # type: ignore[misc]
            for node in nodes
        )

    def tick(self) -> float | None:
        if self._client is None:
            raise LineDownError(f"{self} is not connected")
        self._call("its state", self._client.nodes.server_state.read_value())
        return self._section.check_every_s

    def leave(self) -> None:
        if self.clears:
            attempt_all(
                lambda node=node: self._write(node, False)  # type: ignore[misc]
                for node in self._section.nodes
                if node.item is None
            )

    def close(self) -> None:
        client, self._client = self._client, None
        try:
            if client is not None:
                self._loop.call(client.disconnect())
        finally:
            self._loop.stop()

    def __str__(self) -> str:
        return f"the OPC UA server {without_credentials(self._section.url)}"

    def _write_item(self, node: NodeSection, signal: Signal) -> None:
        found = next((i for i in stock_items(signal) if i.name == node.item), None)
        if found is None:
            raise OutputError(f"the shelf {signal.source} says nothing of {node.item}")
        is_text = self._type(node) is ua.VariantType.String
        value = found.state if is_text else found.count
        if value is not None:
            self._write(node, value)

    def _write(self, node: NodeSection, value: bool | int | str) -> None:
        variant = ua.Variant(_as_type(value, kind := self._type(node), node.node), kind)
        # No timestamps: many controllers refuse a write that brings its own.
        self._call(
            node.node, self._open_client().get_node(node.node).write_value(ua.DataValue(variant))
        )

    def _type(self, node: NodeSection) -> ua.VariantType:
        if node.node not in self._types:
            variable = self._open_client().get_node(node.node)
            self._types[node.node] = self._call(
                node.node, variable.read_data_type_as_variant_type()
            )
        return self._types[node.node]

    def _open_client(self) -> Client:
        if self._client is None:
            raise LineDownError(f"{self} is not connected")
        return self._client

    def _call(self, what: str, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.call(coroutine)
        except REFUSALS as error:
            raise OutputError(
                f"{self} refused {what}: {type(error).__name__}; correct the node or the rights"
            ) from error
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise LineDownError(f"{self} was lost at {what}: {reason}") from error


class _LoopThread:
    """An event loop in a thread, because the library keeps its session alive in tasks."""

    def __init__(self, name: str, timeout_s: float) -> None:
        self._name, self._timeout_s = name, timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises. Raises TimeoutError after `timeout_s`."""
        if self._loop is None:
            coroutine.close()
            raise TimeoutError("there is no event loop")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(self._timeout_s)
        except FutureTimeout:
            future.cancel()
            raise TimeoutError(f"no answer in {self._timeout_s} s") from None

    def stop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        with suppress(FutureTimeout):
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(self._timeout_s)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(self._timeout_s)
        if not thread.is_alive():
            loop.close()


async def _cancel_all() -> None:
    """What the library left running; a loop that stops over it would complain."""
    tasks = asyncio.all_tasks() - {task for task in (asyncio.current_task(),) if task}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _as_type(value: bool | int | str, kind: ua.VariantType, node: str) -> bool | int | float | str:
    if kind is ua.VariantType.Boolean and not isinstance(value, str):
        return bool(value)
    if kind in FLOATS and not isinstance(value, str):
        return float(value)
    if kind in INTEGERS and not isinstance(value, str):
        low, high = INTEGERS[kind]
        return min(max(int(value), low), high)
    if kind is ua.VariantType.String:
        return str(value)
    raise OutputError(
        f"{node} is a {kind.name}, which {value!r} is not; name a Boolean, a number or a String"
    )
