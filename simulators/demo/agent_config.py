"""agent.toml as the demos write it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simulators.hub import HubAddress

Table = tuple[str, dict[str, Any]]


def write_config(
    folder: Path, device: str, token: str, address: HubAddress, more: Iterable[Table]
) -> Path:
    """Write `folder`/agent.toml for a device of that hub, with `more` tables; its path.

    The device keeps its data and its detections in the same folder.
    """
    folder.mkdir(parents=True)
    tables: list[Table] = [
        ("[device]", {"id": device, "data_dir": "data"}),
        ("[hub]", {"url": address.url, "token": token}),
        ("[mqtt]", {"host": address.mqtt_host, "port": address.mqtt_port, "root": address.root}),
        ("[outputs]", {"jsonl": "detections.jsonl", "jsonl_unserved": True}),
        ("[local]", {"port": 0}),
        *more,
    ]
    path = folder / "agent.toml"
    path.write_text(to_toml(tables))
    path.chmod(0o600)
    return path


def to_toml(tables: Iterable[Table]) -> str:
    """Tables of plain values: a string, a number or an array is spelled in JSON as in TOML."""
    return "\n".join(
        "\n".join([head, *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""])
        for head, table in tables
    )
