"""Check: agent.toml can be read and says what the agent understands."""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.doctor.finding import Box, Finding, ok, problem


def check(box: Box) -> Iterator[Finding]:
    if box.config is None:
        for line in box.config_error.splitlines():
            yield problem(line, "correct agent.toml, or write one with `argosy device enrol`")
        return
    cameras, slots = len(box.config.cameras), len(box.config.slots)
    yield ok(f"{box.config_path}: {cameras} cameras, {slots} slots")
