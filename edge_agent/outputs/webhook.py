"""Signals POSTed as JSON.

A POST is bounded as a whole, not each of its reads: a server that answers a byte a second
cannot hold the channel. An answer below 300 is taken as success; 408, 429, 5xx and silence
are tried again, anything else is final. `Idempotency-Key` is the same at every try.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from edge_agent.cameras.source import without_credentials
from edge_agent.errors import OutputError
from edge_agent.outputs.settings import WebhookSection
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.writer import LineDownError, Writer, body_json

ANSWER_BYTES_MAX = 64 * 1024
TRY_AGAIN = frozenset({408, 429})


class WebhookWriter(Writer):
    """Writer `webhook`: every signal is an event."""

    takes = frozenset(SignalKind)
    holds: frozenset[SignalKind] = frozenset()

    def __init__(self, section: WebhookSection, device_id: str) -> None:
        self._section, self._device_id = section, device_id
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None

    def open(self, _wake: Callable[[], None]) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "argosy-agent"}
        token = self._section.read_token()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._loop = asyncio.new_event_loop()
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=self._section.timeout_s,
            verify=self._trust(),
            trust_env=False,
            follow_redirects=False,
        )

    def write(self, signal: Signal) -> None:
        body = body_json(signal)
        key = hashlib.sha256(
            b"\0".join((self._device_id.encode(), signal.kind.value.encode(), body))
        ).hexdigest()[:32]
        status = self._run(self._post(body, key))
        if status in TRY_AGAIN or status >= 500:
            raise LineDownError(f"{self} answered {status}; it is tried again")
        if status >= 300:
            raise OutputError(
                f"{self} refused a {signal.kind.value} signal with {status}; "
                "correct the channel's url or token"
            )

    def close(self) -> None:
        loop, client = self._loop, self._client
        self._loop = self._client = None
        if loop is not None and client is not None:
            loop.run_until_complete(client.aclose())
            loop.close()

    def __str__(self) -> str:
        return f"the webhook {without_credentials(self._section.url)}"

    def _run(self, post: Coroutine[Any, Any, int]) -> int:
        if self._loop is None:
            post.close()
            raise LineDownError(f"{self}: the channel is not open")
        try:
            return self._loop.run_until_complete(asyncio.wait_for(post, self._section.timeout_s))
        except (httpx.HTTPError, TimeoutError, asyncio.TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise LineDownError(f"{self} cannot be reached: {reason}") from error

    async def _post(self, body: bytes, key: str) -> int:
        if self._client is None:
            raise LineDownError(f"{self}: the channel is not open")
        async with self._client.stream(
            "POST", self._section.url, content=body, headers={"Idempotency-Key": key}
        ) as answer:
            # A short answer is read to its end so that the connection can be used again.
            read_bytes = 0
            async for piece in answer.aiter_raw():
                read_bytes += len(piece)
                if read_bytes > ANSWER_BYTES_MAX:
                    break
            return answer.status_code

    def _trust(self) -> ssl.SSLContext | bool:
        """Whom to believe; without TLS nobody, and no certificates are read at each opening."""
        if self._section.ca_file is None:
            return self._section.url.startswith("https:")
        try:
            return ssl.create_default_context(cafile=str(self._section.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise OutputError(
                f"channels.{self._section.id}.ca_file: {self._section.ca_file} holds no "
                f"certificates ({error}); correct the path"
            ) from error
