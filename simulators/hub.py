"""The hub as anybody outside sees it: its REST interface, over HTTP, with a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

API = "/api/v1"
PAGE_ROWS = 500
ADDRESS_FILE = "hub.json"
TOKEN_FILE = "admin.token"  # noqa: S105 - the name of a file


class HubError(Exception):
    """The hub refused a request, or could not be reached; the text is its own reason."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True)
class HubAddress:
    """What a running hub writes into its data folder: where it and its broker listen."""

    url: str
    mqtt_host: str
    mqtt_port: int
    root: str

    @classmethod
    def read(cls, data_dir: Path) -> HubAddress | None:
        """The address in `data_dir`, None while there is none."""
        try:
            found = json.loads((data_dir / ADDRESS_FILE).read_text())
            return cls(found["url"], found["mqtt_host"], int(found["mqtt_port"]), found["root"])
        except (FileNotFoundError, ValueError, KeyError):
            return None


class Hub:
    """A connection to one hub as one principal. Paths are below /api/v1."""

    def __init__(self, url: str, token: str, timeout_s: float = 30.0) -> None:
        self.url = url
        self._client = httpx.Client(
            base_url=url + API,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_s,
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **params: Any) -> Any:
        """The JSON answer. Raises HubError."""
        return self._json("GET", path, params=_given(params))

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._json("POST", path, json=body or {})

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._json("PUT", path, json=body)

    def data(self, path: str) -> bytes:
        """The answer's bytes, for images and blobs. Raises HubError."""
        return self._send("GET", path).content

    def items(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, **{"limit": PAGE_ROWS, **params, "cursor": cursor})
            yield from page["items"]
            cursor = page.get("next")
            if cursor is None:
                return

    def _json(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._send(method, path, **arguments)
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise HubError(0, f"{method} {self.url}{API}{path}: {error}") from error
        if answer.is_error:
            raise HubError(answer.status_code, f"{method} {path}: {_reason(answer)}")
        return answer


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _reason(answer: httpx.Response) -> str:
    try:
        error = answer.json()["error"]
        return f"{answer.status_code} {error['message']} {error.get('remedy') or ''}".rstrip()
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.text[:300]}"
