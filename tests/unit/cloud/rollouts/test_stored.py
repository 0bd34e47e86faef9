"""Rollouts of before: what stood in columns becomes a document by which they go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from cloud.database import MIGRATIONS, Database
from cloud.fleet import selectors
from cloud.rollouts import service
from cloud.rollouts.models import Rollout
from cloud.rollouts.request.spec import spec_of
from cloud.rollouts.running.looking import policy_of
from tests.unit.cloud.rollouts.conftest import ADMIN

OLD = {
    "id": "r", "name": "caps v1", "model": "caps", "version": 1, "builds": "[]",
    "state": "RUNNING", "reason": "", "wave": 1, "created_at": 1.0, "created_by": "ada",
    "watched": 1, "soak_s": 30.0, "success_percent": 90.0, "failed_max": 2, "probation_s": 5.0,
    "step_timeout_s": 60.0, "total_timeout_s": 600.0, "attempts_max": 2, "site_atomic": 1,
    "timeout_s": None,
}  # fmt: skip
DOCUMENTS: dict[str, Any] = {
    "selector": {"labels": {"hall": 'hall "2"'}, "sites": ["ulm", "bad urach"], "devices": ["d0"]},
    "waves": [{"labels": {"line": "a"}}, {"percent": 40}, {}],
    "shadow": {"share": 0.1},
    "window": {"cron": "0 2 * * *", "duration_s": 60.0, "time_zone": None},
}


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Database]:
    """A database of the schema before, with one rollout and its five devices."""
    database = Database(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    with database.engine.begin() as connection:
        _migrate(connection, "0016_rollout_policies")
        row = OLD | {name: json.dumps(value) for name, value in DOCUMENTS.items()}
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join(f":{name}" for name in row)
        connection.execute(text(f"INSERT INTO rollout ({names}) VALUES ({values})"), row)  # noqa: S608
        for number in range(5):
            connection.execute(
                text(
                    "INSERT INTO device (id, labels, models, created_at, presence, session_epoch, "
                    "running, desired_generation) "
                    "VALUES (:device, '{}', '[\"caps\"]', 1, 'online', 0, '{}', 0)"
                ),
                {"device": f"d{number}"},
            )
            connection.execute(
                text(
                    "INSERT INTO execution (rollout_id, device_id, attempt, wave, state, reason, "
                    "step_at, acknowledged, diverged) "
                    "VALUES ('r', :device, 1, :wave, 'QUEUED', '', 1, 0, 0)"
                ),
                {"device": f"d{number}", "wave": min(number, 2)},
            )
    yield database
    database.close()


def _migrate(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    step = command.downgrade if revision.startswith("-") else command.upgrade
    step(config, revision.removeprefix("-"))


def test_a_rollout_of_before_goes_on_by_its_own_rules(old: Database) -> None:
    with old.engine.begin() as connection:
        _migrate(connection, "head")
    with old.reading() as session:
        rollout = service.get(session, ADMIN, "r")
        spec, counts = spec_of(rollout), service.wave_counts(session, rollout)
    assert [(w.selector, w.percent, w.count) for w in spec.waves] == [
        ("line=a", None, None), (None, 40, None), (None, None, 3),
    ]  # fmt: skip
    assert [count.total() for count in counts] == [1, 1, 3]
    named = selectors.parse(spec.selector)
    assert selectors.fits(named, {"hall": 'hall "2"', "site": "bad urach"})
    assert not selectors.fits(named, {"hall": "2", "site": "ulm"})
    assert (spec.devices, spec.site_atomic, spec.failed_max) == (["d0"], True, 2)
    assert (spec.total_timeout_s, spec.attempts_max) == (600, 2)
    assert spec.shadow is not None and spec.shadow.share == 0.1
    assert spec.window is not None and spec.window.cron == "0 2 * * *"
    policy = policy_of(spec)
    assert [wave.success_percent for wave in policy.waves] == [90, 90, 90]
    assert (rollout.asks, rollout.revision, rollout.approved_waves) == (None, 0, [])


def test_one_that_waits_for_its_approval_still_asks(old: Database) -> None:
    with old.engine.begin() as connection:
        connection.execute(text("UPDATE rollout SET state = 'WAITING_FOR_APPROVAL'"))
        _migrate(connection, "head")
    with old.transaction() as session:
        assert session.get_one(Rollout, "r").asks == "APPROVAL"


def test_the_schema_goes_back(old: Database) -> None:
    with old.engine.begin() as connection:
        _migrate(connection, "head")
        _migrate(connection, "-0016_rollout_policies")
        names = {row[1] for row in connection.execute(text("PRAGMA table_info(rollout)"))}
    assert names >= set(OLD) | set(DOCUMENTS)
    assert "spec" not in names
