"""Fixtures of the learning half of the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cloud_learning.drawn import write_folder


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled folder that nobody changes."""
    return write_folder(tmp_path_factory.mktemp("drawn"))
