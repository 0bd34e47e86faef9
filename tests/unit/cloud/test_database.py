"""Transactions, what follows them, and the migrated schema."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlmodel import Session

from cloud.access.service import audit
from cloud.database import MIGRATIONS, Database, after_commit, publish_after_commit
from cloud.fleet import service as fleet
from cloud.fleet.models import Site
from cloud.tables import metadata
from protocol.topics import Kind, Topic
from tests.unit.cloud.conftest import OPERATOR, Heard

TOPIC = Topic(Kind.DESIRED, device_id="line-1")


def site_names(database: Database) -> list[str]:
    with database.reading() as session:
        return [site.name for site in fleet.list_sites(session, OPERATOR, None, 100)]


def add_site(session: Session, name: str) -> None:
    session.add(Site(name=name, created_at=1.0))


def test_the_migrated_schema_is_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_twice_changes_nothing(database: Database) -> None:
    with database.transaction() as session:
        add_site(session, "here")
    database.migrate()
    assert site_names(database) == ["here"]


def test_a_transaction_that_raises_leaves_nothing_and_publishes_nothing(
    database: Database, heard: Heard
) -> None:
    with pytest.raises(RuntimeError), database.transaction() as session:
        add_site(session, "here")
        publish_after_commit(session, TOPIC, b"x")
        raise RuntimeError
    assert (site_names(database), heard.messages) == ([], [])


def test_what_follows_a_commit_sees_it(database: Database, heard: Heard) -> None:
    seen: list[list[str]] = []
    with database.transaction() as session:
        add_site(session, "here")
        after_commit(session, lambda: seen.append(site_names(database)))
        publish_after_commit(session, TOPIC, b"x")
        assert heard.messages == []
    assert (seen, heard.messages) == ([["here"]], [(TOPIC, b"x")])


def test_a_commit_that_fails_publishes_nothing(database: Database, heard: Heard) -> None:
    with pytest.raises(IntegrityError), database.transaction() as session:
        publish_after_commit(session, TOPIC, b"x")
        add_site(session, "here")
        session.flush()
        add_site(session, "here")
    assert heard.messages == []


def test_a_hook_that_fails_undoes_nothing(database: Database) -> None:
    def fail() -> None:
        raise RuntimeError

    with database.transaction() as session:
        add_site(session, "here")
        after_commit(session, fail)
    assert site_names(database) == ["here"]


def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.connection().execute(
            text(
                "INSERT INTO device_command VALUES "
                "('c', 'nobody', 'report', '{}', 1, 2, NULL, NULL, '')"
            )
        )


def test_many_writers_take_turns(database: Database) -> None:
    def write(name: str) -> None:
        for number in range(10):
            with database.transaction() as session:
                site_names(database)
                add_site(session, f"{name}-{number}")

    threads = [threading.Thread(target=write, args=(n,)) for n in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site_names(database)) == 40


@pytest.mark.parametrize("deed", ["UPDATE audit SET verb = 'x'", "DELETE FROM audit"])
def test_the_audit_cannot_be_changed(database: Database, deed: str) -> None:
    with database.transaction() as session:
        audit(session, OPERATOR, "site.create", "site/here")
    with pytest.raises(DatabaseError, match="append-only"), database.transaction() as session:
        session.connection().execute(text(deed))


def test_numbers_that_were_used_are_found_in_all_that_is_left_of_them(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    with database.engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0014_tracking")
        for name in ("caps", "lids", "new"):
            connection.execute(
                text(
                    "INSERT INTO model (name, class_names, created_at, created_by) "
                    "VALUES (:name, '[]', 1, 'ada')"
                ),
                {"name": name},
            )
        for statement in (
            "INSERT INTO promotion (model, alias, number, forced, reason, at, by) "
            "VALUES ('caps', 'production', 4, 0, '', 1, 'ada')",
            "INSERT INTO note (subject, text, at, by) VALUES ('model/lids/12', 'x', 1, 'ada')",
            "INSERT INTO note (subject, text, at, by) VALUES ('model/lids', 'x', 1, 'ada')",
            "INSERT INTO note (subject, text, at, by) VALUES ('model/gone/7', 'x', 1, 'ada')",
        ):
            connection.execute(text(statement))
        command.upgrade(config, "head")
        found = connection.execute(text("SELECT name, numbers_used FROM model")).all()
    database.close()
    assert dict(map(tuple, found)) == {"caps": 4, "lids": 12, "new": 0}
