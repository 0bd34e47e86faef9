"""The REST client of the command line, and how a command gets one.

The hub's address comes from `--url`, `ARGOSY_URL` or `hub.json` in the data folder, the
token from `ARGOSY_TOKEN` or `admin.token` there.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import httpx
import typer
from rich.console import Console
from rich.text import Text

from cloud.plain_text import shown

DATA_DIR_DEFAULT = Path("argosy-data")
TIMEOUT_S = 60.0
UPLOAD_PIECE_BYTES = 256 * 1024
INTEGER_MAX = 2**63 - 1

OnBytes = Callable[[int, int], None]

DataOption = Annotated[
    Path, typer.Option("--data", envvar="ARGOSY_DATA", help="The hub's data folder.")
]
UrlOption = Annotated[
    str | None, typer.Option("--url", envvar="ARGOSY_URL", help="The hub's address.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class CommandError(Exception):
    """A command cannot do what it was asked; says what is wrong and the remedy."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class HubAwayError(CommandError):
    """The hub does not answer."""


class HubClient:
    """Requests to one hub; every answer is checked and parsed."""

    def __init__(self, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            transport=transport,
        )

    def get(self, path: str, **query: Any) -> Any:
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Any = None) -> Any:
        return self.request("POST", path, body=body)

    def put(self, path: str, body: Any = None) -> Any:
        return self.request("PUT", path, body=body)

    def delete(self, path: str) -> Any:
        return self.request("DELETE", path)

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        cursor = None
        while True:
            page = self.get(path, cursor=cursor, **query)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def request(self, method: str, path: str, *, query: Any = None, body: Any = None) -> Any:
        """The JSON that the hub answers; None where it answers nothing.

        Raises:
            CommandError: the hub cannot be reached, or says no.
        """
        response = self._send(method, path, query, body)
        return response.json() if response.content else None

    def content(self, path: str) -> bytes:
        """The bytes that the hub answers. Raises as `request` does."""
        return self._send("GET", path, None, None).content

    def upload(self, path: Path, on_progress: OnBytes | None = None) -> str:
        """Send the file as a blob; its sha256. What the hub knows already does no harm.

        Args:
            on_progress: called with bytes sent and bytes in all.

        Raises:
            CommandError: the file cannot be read, or as `request` does.
        """
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                total = file.tell()
                file.seek(0)
                headers = {
                    "Content-Length": str(total),
                    "Content-Type": "application/octet-stream",
                }
                self._exchange(
                    "PUT",
                    f"blobs/{sha256}",
                    headers=headers,
                    content=_told(file, total, on_progress),
                )
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}") from error
        return sha256

    def _send(self, method: str, path: str, query: Any, body: Any) -> httpx.Response:
        given = {k: v for k, v in (query or {}).items() if v is not None}
        _check_sendable(body)
        _check_sendable(given)
        return self._exchange(method, path.lstrip("/"), params=given, json=body)

    def _exchange(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise HubAwayError(
                f"the hub at {self.url} does not answer: {error}",
                "start it with `argosy serve`, or give its address with --url",
            ) from error
        if response.is_error:
            raise _refusal(response)
        return response


def _check_sendable(value: Any, key: str = "") -> None:
    """Raises CommandError naming the key of what no JSON can say: nan, inf, undecodable text."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_sendable(str(name), key)
            _check_sendable(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check_sendable(inner, f"{key}[{number}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise CommandError(f"{key} is {value}, which is no number to send", "give a finite number")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > INTEGER_MAX:
        raise CommandError(f"{key} is a number of too many digits", "give a smaller one")
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise CommandError(
                f"{key or 'a name'} is no UTF-8 text", "write it in UTF-8"
            ) from error


def _told(file: BinaryIO, total: int, on_progress: OnBytes | None) -> Iterator[bytes]:
    """The file's bytes, each piece told once the next is asked for."""
    while piece := file.read(UPLOAD_PIECE_BYTES):
        yield piece
        if on_progress is not None:
            on_progress(file.tell(), total)


def open_client(data: Path, url: str | None) -> HubClient:
    """The client for the hub that `data` or `url` names. Raises CommandError."""
    return HubClient(url or _ready_value(data, "url"), read_token(data))


def read_token(data: Path) -> str:
    """The token to use. Raises CommandError where there is none."""
    given = os.environ.get("ARGOSY_TOKEN")
    if given:
        return given
    try:
        return (data / "admin.token").read_text().strip()
    except OSError as error:
        raise CommandError(
            f"no token: {data / 'admin.token'} cannot be read ({error.strerror})",
            "set ARGOSY_TOKEN, or name the hub's folder with --data",
        ) from error


def connected(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose first parameter is a HubClient.

    The command has the options --data and --url instead of that parameter.
    """
    signature = inspect.signature(function, eval_str=True)
    others = list(signature.parameters.values())[1:]

    @functools.wraps(function)
    def command(*, data: Path, url: str | None, **options: Any) -> None:
        function(open_client(data, url), **options)

    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter("data", keyword, default=DATA_DIR_DEFAULT, annotation=DataOption),
        inspect.Parameter("url", keyword, default=None, annotation=UrlOption),
    ]
    parameters = [p.replace(kind=keyword) for p in others] + added
    del command.__wrapped__
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def show_error(error: CommandError) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("error:", "red"), f" {shown(error.message)}"))
    if error.remedy:
        console.print(Text(f"  {shown(error.remedy)}"))


def _refusal(response: httpx.Response) -> CommandError:
    try:
        error = response.json()["error"]
        return CommandError(error["message"], error["remedy"])
    except (ValueError, KeyError, TypeError):
        return CommandError(f"the hub answered {response.status_code}", "see the hub's log")


def _ready_value(data: Path, key: str) -> str:
    try:
        value = json.loads((data / "hub.json").read_text())[key]
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(
            f"no hub is known: {data / 'hub.json'} cannot be read",
            "start one with `argosy serve`, name its folder with --data, or give --url",
        ) from error
    return str(value)
