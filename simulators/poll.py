"""Many MQTT clients driven from one poll: one selector, no thread for any of them."""

from __future__ import annotations

import selectors
import socket
from typing import Any

from paho.mqtt.client import Client

RECEIVE_BUFFER_BYTES = 128 * 1024
"""Of each socket. Left to itself the system gives each several megabytes, times thousands."""


class Poll:
    """Reads and writes for every client that was added, within `turn` and nowhere else.

    Not safe to use from several threads: clients are connected, told to publish and polled
    by one.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[Client, socket.socket] = {}
        self._unsent: set[Client] = set()
        self._blocked: set[Client] = set()

    def add(self, client: Client) -> None:
        """Drive a client from its next connection on."""
        client.on_socket_open = self._opened
        client.on_socket_close = self._closed
        client.on_socket_register_write = self._has_more
        client.on_socket_unregister_write = self._has_sent

    def turn(self, wait_s: float) -> None:
        """Read what has come, after at most `wait_s`, and write what is to go.

        What the clients' callbacks want to send goes with the next `flush`.
        """
        for key, events in self._selector.select(max(0.0, wait_s)):
            client: Client = key.data
            if events & selectors.EVENT_WRITE:
                client.loop_write()
            if events & selectors.EVENT_READ:
                client.loop_read()
        self.flush()

    def flush(self) -> None:
        """Write what waits; what a socket does not take is written when it does."""
        while self._unsent:
            client = self._unsent.pop()
            client.loop_write()
            if client.want_write() and client in self._sockets:
                self._block(client)

    def cut(self, client: Client) -> None:
        """Close a connection without a word, as a power cut would."""
        link = self._forget(client)
        if link is not None:
            link.close()

    def close(self) -> None:
        """Let go of every socket that is left."""
        for client in list(self._sockets):
            self.cut(client)
        self._selector.close()

    def _opened(self, client: Client, _data: Any, link: Any) -> None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._sockets[client] = link
        self._selector.register(link, selectors.EVENT_READ, client)

    def _closed(self, client: Client, _data: Any, _link: Any) -> None:
        self._forget(client)

    def _has_more(self, client: Client, _data: Any, _link: Any) -> None:
        self._unsent.add(client)

    def _has_sent(self, client: Client, _data: Any, _link: Any) -> None:
        self._unsent.discard(client)
        if client in self._blocked:
            self._blocked.discard(client)
            self._selector.modify(self._sockets[client], selectors.EVENT_READ, client)

    def _block(self, client: Client) -> None:
        """Wait for the socket to take more."""
        if client not in self._blocked:
            self._blocked.add(client)
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(self._sockets[client], both, client)

    def _forget(self, client: Client) -> socket.socket | None:
        self._unsent.discard(client)
        self._blocked.discard(client)
        link = self._sockets.pop(client, None)
        if link is not None:
            self._selector.unregister(link)
        return link
