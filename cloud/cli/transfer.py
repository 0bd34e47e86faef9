"""Large files between the command line and the hub: streamed, with a bar, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from cloud.cli.client import TIMEOUT_S, CommandError, HubClient, _refusal

READ_BYTES = 256 * 1024
# A hub says nothing while it registers what it was sent.
TIMEOUT = httpx.Timeout(TIMEOUT_S, read=10 * TIMEOUT_S)


def download(client: HubClient, path: str, out: Path, *, quiet: bool) -> int:
    """Write what the hub answers to `out`; returns its bytes.

    It is written beside `out` under another name first: cut off, by Ctrl-C too, it leaves
    nothing, and what was at `out` stays.

    Raises:
        CommandError: the hub refuses or cuts the answer short, or the disk does.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    except OSError as error:
        raise CommandError(
            f"{out} cannot be written: {error.strerror}", "name another place with --out"
        ) from error
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file, _bar(quiet=quiet) as bar:
            with _exchange(client, "GET", path) as response:
                length = response.headers.get("Content-Length")
                total_bytes = int(length) if length else None
                task = bar.add_task(f"fetching {out.name}", total=total_bytes)
                for piece in response.iter_bytes(READ_BYTES):
                    file.write(piece)
                    bar.advance(task, len(piece))
            file.flush()
            os.fsync(file.fileno())
            size_bytes = file.tell()
        partial.replace(out)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}", "free some space") from (
            error
        )
    finally:
        partial.unlink(missing_ok=True)
    return size_bytes


def upload(client: HubClient, path: str, source: Path, *, quiet: bool) -> Any:
    """Send the file `source`; returns what the hub answers.

    Raises:
        CommandError: the hub refuses it, or the file cannot be read.
    """
    try:
        size_bytes = source.stat().st_size
        with source.open("rb") as file, _bar(quiet=quiet) as bar:
            task = bar.add_task(f"sending {source.name}", total=size_bytes)
            pieces = _advancing(iter(lambda: file.read(READ_BYTES), b""), bar, task)
            headers = {"Content-Length": str(size_bytes), "Content-Type": "application/x-tar"}
            with _exchange(client, "POST", path, headers=headers, content=pieces) as response:
                response.read()
                return response.json()
    except OSError as error:
        raise CommandError(
            f"{source} cannot be read: {error.strerror}", "name a file that is there"
        ) from error


@contextmanager
def _exchange(
    client: HubClient, method: str, path: str, **request: Any
) -> Iterator[httpx.Response]:
    """An answer whose body is yet to be read. Raises CommandError as `HubClient.request`."""
    try:
        with client._http.stream(method, path, timeout=TIMEOUT, **request) as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            yield response
    except httpx.HTTPError as error:
        raise CommandError(
            f"the hub at {client.url} does not answer: {error}",
            "start it with `argosy serve`, or give its address with --url",
        ) from error


def _advancing(pieces: Iterator[bytes], bar: Progress, task: TaskID) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        bar.advance(task, len(piece))


def _bar(*, quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), disable=quiet)
