"""Check: the data folder takes what is written to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edge_agent.doctor.finding import Box, Finding, ok, problem


def check(box: Box) -> Iterator[Finding]:
    if box.config is not None:
        folder = box.config.device.data_dir
        yield judge(folder, _refusal(folder))


def judge(folder: Path, refusal: str | None) -> Finding:
    """`refusal`: why a file could not be written there; None where it could."""
    if refusal is None:
        return ok(f"{folder} can be written")
    return problem(
        f"{folder}: {refusal}",
        "correct device.data_dir, or give the folder to the user that the agent runs as",
    )


def _refusal(folder: Path) -> str | None:
    nearest = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"argosy")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None
