"""Rules for all tests: what a missing part of the machine means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]


def lacking(reason: str) -> NoReturn:
    """Skip with the reason; under CI=true, where everything should be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI lacks a part that this test needs: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The read-only folder of real data beside the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        lacking("the real data folder ../shared/data is not beside the project")
    return folder
