"""A worker's side of HTTP: what it asks of its hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from pydantic import ValidationError

from cloud.building.worker_cache import sha256_of
from cloud.building.worker_schemas import (
    MESSAGE_CHARACTERS_MAX,
    Claim,
    OutputName,
    TaskFailure,
    TaskProgress,
    TaskView,
    WorkerHello,
)

TIMEOUT_S = 60.0
PIECE_BYTES = 256 * 1024
FILE_BYTES_MAX = 4 * 1024**3
GONE = (404, 409)
PASSING = (401, 403, 408, 429)


class HubAway(Exception):  # noqa: N818 - passes, or its operator makes it pass
    """The hub does not answer, or does not let this worker in."""


class TaskGone(Exception):  # noqa: N818 - an outcome
    """The task is no longer this worker's."""


class HubRefused(Exception):  # noqa: N818 - an outcome
    """The hub does not take what it was sent, now or later."""


class WorkerLink:
    """Requests of one worker to one hub.

    Each raises HubAway; those about a task raise TaskGone and HubRefused too.
    """

    def __init__(self, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1/worker/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            transport=transport,
        )

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def claim(self, hello: WorkerHello) -> Claim:
        """Ask for a task."""
        answer = self._send("POST", "claim", json=hello.model_dump(mode="json"))
        try:
            return Claim.model_validate_json(answer.content)
        except ValidationError as error:
            raise HubAway(f"{self.url} answers what this worker does not know: {error}") from error

    def progress(self, task: TaskView, done: int, total: int) -> None:
        """Say how far it is."""
        said = TaskProgress(done=done, total=total)
        self._about(task, "POST", "progress", json=said.model_dump())

    def fetch(self, task: TaskView, sha256: str, target: Path) -> None:
        """Write one of the task's files to `target`. Raises OSError too; checks nothing."""
        size_bytes = 0
        try:
            with self._http.stream(
                "GET", f"tasks/{task.id}/files/{sha256}", params={"lease": task.lease}
            ) as response:
                if not response.is_success:
                    response.read()
                    raise _error(response)
                with target.open("wb") as file:
                    for piece in response.iter_bytes(PIECE_BYTES):
                        size_bytes += len(piece)
                        if size_bytes > FILE_BYTES_MAX:
                            raise HubRefused(f"{sha256[:12]} is over {FILE_BYTES_MAX} bytes")
                        file.write(piece)
        except httpx.HTTPError as error:
            raise HubAway(f"{self.url} does not answer: {error}") from error

    def bring(self, task: TaskView, name: OutputName, path: Path) -> None:
        """Send an output. Raises OSError too."""
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(0)
            self._about(
                task,
                "PUT",
                f"outputs/{name}",
                sha256=sha256_of(path),
                headers={"Content-Length": str(size_bytes)},
                content=_pieces(file),
            )

    def finish(self, task: TaskView) -> None:
        """All outputs are sent."""
        self._about(task, "POST", "result")

    def fail(self, task: TaskView, message: str, *, again: bool = False) -> None:
        """There is no result; `again`: another worker may have one."""
        said = TaskFailure(message=message[-MESSAGE_CHARACTERS_MAX:] or "failed", again=again)
        self._about(task, "POST", "failure", json=said.model_dump())

    def _about(
        self, task: TaskView, method: str, path: str, *, sha256: str | None = None, **request: Any
    ) -> None:
        query = {"lease": task.lease} | ({} if sha256 is None else {"sha256": sha256})
        self._send(method, f"tasks/{task.id}/{path}", params=query, **request)

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise HubAway(f"{self.url} does not answer: {error}") from error
        if not response.is_success:
            raise _error(response)
        return response


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _error(response: httpx.Response) -> Exception:
    try:
        error = response.json()["error"]
        said = f"{error['message']}; {error['remedy']}"
    except (ValueError, LookupError, TypeError):
        said = f"the hub answered {response.status_code}"
    if response.status_code in GONE:
        return TaskGone(said)
    if not response.is_client_error or response.status_code in PASSING:
        return HubAway(said)
    return HubRefused(said)
