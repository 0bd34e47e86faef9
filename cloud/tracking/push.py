"""The child that speaks with an MLflow server: `python -m cloud.tracking.push ORDER RESULT`.

ORDER is {"artifact_folder": path|null, "pushes": [{"content": …, "run_id": text|null,
"blobs": {sha256: path}}]}; RESULT gets a JSON line for each push as soon as it is done. The
server and the credentials come in MLflow's own variables. Importing the client costs a process
more than 100 MB, which is why the hub does not do it itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cloud.tracking.content import MirrorContent
from cloud.tracking.environment import redacted, secrets_in

ERROR_CHARACTERS_MAX = 500
_REFUSED_ALTOGETHER = frozenset({401, 403})


class Pushed(BaseModel):
    """What became of one push.

    Attributes:
        unreachable: nothing of the server could be had, so the pushes after it were not tried.
    """

    key: str
    run_id: str | None = None
    model_version: str | None = None
    error: str | None = None
    unreachable: bool = False


def push_all(
    order: dict[str, Any],
    push: Callable[[MirrorContent, str | None, dict[str, Path]], tuple[str, str]],
    report: Callable[[Pushed], None],
    secrets: tuple[str, ...],
) -> None:
    """Push one after the other; the first that finds no server is the last."""
    for item in order["pushes"]:
        content = MirrorContent.of_json(item["content"])
        blobs = {sha256: Path(path) for sha256, path in item["blobs"].items()}
        try:
            run_id, model_version = push(content, item["run_id"], blobs)
        except Exception as error:  # noqa: BLE001 - the client raises whatever its libraries do
            unreachable = is_unreachable(error)
            why = said(error, secrets)
            report(Pushed(key=content.key, error=why, unreachable=unreachable))
            if unreachable:
                return
        else:
            report(Pushed(key=content.key, run_id=run_id, model_version=model_version))


def said(error: Exception, secrets: tuple[str, ...]) -> str:
    """An error in one bounded line without secrets."""
    text = " ".join(str(error).split()) or type(error).__name__
    return redacted(text, secrets)[:ERROR_CHARACTERS_MAX]


def is_unreachable(error: Exception) -> bool:
    """Whether the server did not answer at all, or lets nobody of us in."""
    from mlflow.exceptions import MlflowException, RestException
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import Timeout

    if isinstance(error, RestException):
        return error.get_http_status_code() in _REFUSED_ALTOGETHER
    if isinstance(error, MlflowException):
        text = str(error)
        refused = any(f"error code {status}" in text for status in _REFUSED_ALTOGETHER)
        unheard = text.startswith("API request to") and "failed with exception" in text
        return refused or unheard
    return isinstance(error, NoConnection | Timeout)


def main(order_file: Path, result_file: Path) -> None:
    """Push what the order says and write what became of it."""
    from mlflow import MlflowClient

    from cloud.tracking.client import Pusher

    order = json.loads(order_file.read_text())
    uri = os.environ["MLFLOW_TRACKING_URI"]
    pusher = Pusher(MlflowClient(uri, uri), uri, order["artifact_folder"])
    with result_file.open("w") as result:

        def report(pushed: Pushed) -> None:
            result.write(pushed.model_dump_json() + "\n")
            result.flush()

        push_all(order, pusher.push, report, secrets_in(os.environ))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
