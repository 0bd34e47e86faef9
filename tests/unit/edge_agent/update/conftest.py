"""What the tests of the updates share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.store import Store
from edge_agent.update.states import Committed
from tests.unit.edge_agent.update.updater_rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    store = Store(tmp_path)
    store.open()
    yield Rig(store)
    store.close()


@pytest.fixture
def good(rig: Rig) -> Rig:
    """A slot that serves something proven."""
    rig.store.save("slot-slot", Committed(digest="9" * 64))
    rig.steps.running = "9" * 64
    return rig
