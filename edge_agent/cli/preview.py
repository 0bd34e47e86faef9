"""`argosy-agent preview`: where the running agent shows its pictures, or one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from edge_agent.errors import EdgeError
from edge_agent.local.client import fetch, running_url
from edge_agent.store import write_atomically


class NoPictureError(EdgeError):
    """A camera of which nothing was seen yet; the text says in which state it is."""


def urls(data_dir: Path) -> dict[str, Any]:
    """The pages' address, and each camera's stream. Raises EdgeError where no agent answers."""
    base = running_url(data_dir)
    cameras = json.loads(fetch(base, "/status.json"))["cameras"]
    return {
        "page": f"{base}/",
        "cameras": {camera: f"{base}/preview/{camera}.mjpg" for camera in cameras},
    }


def table(found: dict[str, Any]) -> Table:
    """The same for people."""
    made = Table("camera")
    made.add_column("address", overflow="fold")
    made.add_row("all", found["page"])
    for camera, url in found["cameras"].items():
        made.add_row(camera, url)
    return made


def save(data_dir: Path, camera: str, out: Path) -> int:
    """Write a camera's latest annotated picture to `out`, whole or not at all; its bytes.

    Raises:
        NoPictureError: nothing of the camera was seen yet.
        EdgeError: no agent answers, it has no such camera, or `out` cannot be written.
    """
    base = running_url(data_dir)
    told = json.loads(fetch(base, "/status.json"))["cameras"].get(camera)
    if told is not None and told["inferred"] == 0:
        why = f": {told['detail']}" if told["detail"] else ""
        raise NoPictureError(f"there is no picture of {camera} yet; it is {told['state']}{why}")
    jpeg = fetch(base, f"/preview/{camera}.jpg")
    try:
        write_atomically(out, jpeg)
    except OSError as error:
        raise EdgeError(f"{out} cannot be written: {error.strerror}") from error
    return len(jpeg)
