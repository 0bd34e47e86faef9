"""The examples in docs/ are configurations that the agent takes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.config import parse_config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = re.compile(r"```toml\n(.*?)```", re.DOTALL)
NEEDED: dict[str, Any] = {
    "device": {"id": "box", "data_dir": "data"},
    "hub": {"url": "http://127.0.0.1:1", "token": "abc"},
    "mqtt": {"host": "127.0.0.1"},
}
CAMERAS = [{"id": i, "source": "rtsp://127.0.0.1/1", "slot": "model"} for i in ("belt", "aisle")]
CHANNELS = [
    {"id": i, "type": "webhook", "url": "http://127.0.0.1:1"}
    for i in ("gate", "log", "stock", "feed")
]


@pytest.mark.parametrize("page", ["line.md", "cameras.md"])
def test_examples_are_taken(page: str) -> None:
    examples = EXAMPLE.findall((DOCS / page).read_text())
    assert examples
    for example in examples:
        tables = tomllib.loads(example)
        named = {channel["id"] for channel in tables.get("channels", [])}
        channels = tables.pop("channels", []) + [c for c in CHANNELS if c["id"] not in named]
        rules = [{"id": "scratched", "channels": ["gate"]}] if named else []
        cameras = tables.pop("cameras", CAMERAS)
        config = parse_config(
            {"rules": rules, **NEEDED, **tables, "cameras": cameras, "channels": channels}
        )
        assert config.cameras
