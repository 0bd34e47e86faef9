"""Which devices have changed: counted up by whoever changes them, taken away once seen."""

from __future__ import annotations

import pytest

from cloud.database import Database
from cloud.fleet import service
from tests.unit.cloud.conftest import OPERATOR

IDS = [f"line-{n}" for n in range(3)]


@pytest.fixture
def quiet(database: Database) -> Database:
    """Three devices of which every change has been seen."""
    with database.transaction() as session:
        for device_id in IDS:
            service.enrol(session, OPERATOR, device_id)
        service.forget(session, service.changed(session, 9))
    return database


def test_enrolling_is_a_change(database: Database) -> None:
    with database.transaction() as session:
        service.enrol(session, OPERATOR, "new")
        assert service.changed(session, 9) == {"new": 1}


def test_each_touch_counts_once_for_each_device(quiet: Database) -> None:
    with quiet.transaction() as session:
        service.touch(session, ["line-1", "line-0", "line-1"])
        service.touch(session, iter(["line-1"]))
        service.touch(session, [])
    with quiet.reading() as session:
        assert service.changed(session, 9) == {"line-0": 1, "line-1": 2}
        assert service.changed_of(session, ["line-1", "line-2"]) == {"line-1": 2}
        assert len(service.changed(session, 1)) == 1


def test_what_changed_again_since_it_was_seen_stays(quiet: Database) -> None:
    with quiet.transaction() as session:
        service.touch(session, IDS)
    with quiet.reading() as session:
        seen = service.changed(session, 9)
    with quiet.transaction() as session:
        service.touch(session, ["line-2"])
    with quiet.transaction() as session:
        service.forget(session, seen)
    with quiet.reading() as session:
        assert service.changed(session, 9) == {"line-2": 2}


def test_a_desired_state_is_a_change_unless_its_maker_looks_itself(quiet: Database) -> None:
    with quiet.transaction() as session:
        service.change_desired(session, OPERATOR, "line-0", telemetry_window_s=9.0)
        service.change_desired(session, OPERATOR, "line-0", telemetry_window_s=9.0)
        service.change_desired(session, OPERATOR, "line-1", telemetry_window_s=9.0, known=True)
        assert service.changed(session, 9) == {"line-0": 1}
