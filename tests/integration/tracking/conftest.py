"""A registry with a version of two builds, and a server to mirror it to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.blobs.store import BlobStore
from cloud.database import Database
from tests.integration.tracking.server import MlflowServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One for all, as its start takes many seconds: each test mirrors under its own prefix."""
    made = MlflowServer(tmp_path_factory.mktemp("server"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", blob_bytes_max=1024**2)
