"""Whatever is desired and whatever befalls a device, in whatever order, its updates keep their
promises: 500 walks of the real update machine. A walk that fails says how to replay it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from protocol.states import ExecutionState
from tests.conftest import ROOT
from tests.simulation.update.bundles import SimulatedBundle, make_bundles
from tests.simulation.update.walk import Walked, walk

SEEDS = 500
AT_ONCE = 25


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[SimulatedBundle]:
    return make_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def walked() -> list[Walked]:
    """What all the walks came to."""
    return []


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: the walks write a lot, and sync all of it."""
    shared = Path("/dev/shm")  # noqa: S108 - cleared away below
    folder = Path(tempfile.mkdtemp(prefix="walk-", dir=shared if shared.is_dir() else tmp_path))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_walks(
    first: int, bundles: list[SimulatedBundle], memory: Path, walked: list[Walked]
) -> None:
    with structlog.testing.capture_logs():
        for seed in range(first, first + AT_ONCE):
            folder = memory / str(seed)
            folder.mkdir()
            walked.append(walk(seed, bundles, folder))
            shutil.rmtree(folder)


def test_the_walks_went_everywhere(walked: list[Walked]) -> None:
    """Each state was told, and the device died in each that it can stay in."""
    if len(walked) < SEEDS:
        pytest.skip("only some of the walks were chosen")
    told: Counter[str] = sum((w.told for w in walked), Counter())
    died_in: Counter[str] = sum((w.died_in for w in walked), Counter())
    states = {state.value for state in ExecutionState}
    assert states - {*told, "NO_ARTIFACT"} == set()
    assert states - {*died_in, "NO_ARTIFACT"} == set()
    report = ROOT / "build" / "random-walk.json"
    report.parent.mkdir(exist_ok=True)
    counts = {
        "walks": len(walked),
        "attempts": sum(w.attempts for w in walked),
        "transitions": sum(told.values()),
        "deaths": sum(w.deaths for w in walked),
        "told": told,
        "died_in": died_in,
    }
    report.write_text(json.dumps(counts, indent=2))
