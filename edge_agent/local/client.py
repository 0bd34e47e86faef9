"""Asks the running agent for one of its pages."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge_agent.errors import EdgeError
from edge_agent.local.address import read_address

ANSWER_BYTES_MAX = 32 * 1024 * 1024
TIMEOUT_S = 5.0


class LocalError(EdgeError):
    """The running agent's pages cannot be read; the text names why and the remedy."""


def running_url(data_dir: Path) -> str:
    """Where the agent of a data folder has its pages. Raises LocalError where it has none."""
    url = read_address(data_dir)
    if url is None:
        raise LocalError(
            f"no agent shows pages for {data_dir}; start it with `argosy-agent run`, and see "
            "that local.enabled is not false"
        )
    return url


def fetch(url: str, path: str) -> bytes:
    """The body of a page. Raises LocalError: no answer, a refusal, or too much of one."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        raise LocalError(f"{url} does not answer ({error}); is the agent running?") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        why = body[:200].decode(errors="replace").strip()
        raise LocalError(f"{url}{path} answered {answer.status}: {why}")
    if len(body) > ANSWER_BYTES_MAX:
        raise LocalError(f"{url}{path} is over {ANSWER_BYTES_MAX} bytes")
    return body


def live_status(data_dir: Path) -> dict[str, Any] | None:
    """The running agent's own account of itself; None where none answers."""
    try:
        found = json.loads(fetch(running_url(data_dir), "/status.json"))
    except (LocalError, ValueError):
        return None
    return found if isinstance(found, dict) else None
