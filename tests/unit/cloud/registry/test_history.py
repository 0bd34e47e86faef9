"""Aliases and what is only ever added to."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from cloud.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from cloud.registry import service
from tests.unit.cloud.registry.conftest import ADA, APPROVER, OPERATOR, Registry


def test_an_alias_moves_and_every_move_is_a_promotion(registry: Registry) -> None:
    registry.register(1)
    registry.register(2)
    with registry.database.transaction() as session:
        assert service.alias(session, ADA, "caps", "production") is None
        service.set_alias(session, APPROVER, "caps", "production", 1, evidence="e1", verdict="PASS")
        service.set_alias(session, APPROVER, "caps", "production", 2, forced=True, reason="now")
        assert service.set_alias(session, APPROVER, "caps", "production", 2) is None
        assert service.alias(session, ADA, "caps", "production") == 2
        service.set_alias(session, APPROVER, "caps", "production", None)
        assert list(service.aliases(session, ADA, "caps")) == []
        moves = [
            (p.previous, p.number, p.verdict, p.forced, p.reason, p.by)
            for p in service.promotions(session, ADA, "caps")
        ]
    assert moves == [
        (None, 1, "PASS", False, "", "ann"),
        (1, 2, None, True, "now", "ann"),
        (2, None, None, False, "", "ann"),
    ]


def test_an_alias_is_refused_where_it_may_not_point(registry: Registry) -> None:
    version, build = registry.register(1)
    registry.register(2, verdict={"admitted": False, "reasons": ["blurred"]})
    with registry.database.transaction() as session:
        with pytest.raises(ForbiddenError):
            service.set_alias(session, OPERATOR, "caps", "production", 1)
        for name in ("Production", "", "a b", "../x", "x" * 65):
            with pytest.raises(InvalidError, match="is no alias"):
                service.set_alias(session, ADA, "caps", name, 1)
        with pytest.raises(InvalidError, match="not forced without a reason"):
            service.set_alias(session, ADA, "caps", "production", 1, forced=True)
        with pytest.raises(NotFoundError, match="no version 9"):
            service.set_alias(session, ADA, "caps", "production", 9)
        with pytest.raises(NotFoundError, match="no alias production"):
            service.set_alias(session, ADA, "caps", "production", None)
        with pytest.raises(ConflictError, match="every build of caps v2 is rejected"):
            service.set_alias(session, ADA, "caps", "production", 2)
        service.archive_version(session, ADA, "caps", version.number)
        with pytest.raises(ConflictError, match="v1 is archived"):
            service.set_alias(session, ADA, "caps", "production", 1)
    assert build.state == "EVALUATED"


@pytest.mark.parametrize("table", ["promotion", "deployment", "note"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET by = 'eve'", "DELETE FROM {}"])
def test_the_database_refuses_to_change_history(registry: Registry, table: str, verb: str) -> None:
    registry.register(1)
    with registry.database.transaction() as session:
        service.set_alias(session, ADA, "caps", "production", 1)
        service.record_deployment(session, ADA, "caps", 1, rollout="r", event="started")
        service.add_note(session, ADA, "model/caps", "a note")
    with (
        pytest.raises((IntegrityError, OperationalError), match="append-only"),
        registry.database.transaction() as session,
    ):
        session.connection().execute(text(verb.format(table)))
    with registry.database.reading() as session:
        count = session.connection().execute(text(f"SELECT count(*), max(by) FROM {table}"))  # noqa: S608 - names of ours
        assert tuple(count.one()) == (1, "ada")


def test_promotions_and_deployments_are_one_line_of_time(registry: Registry) -> None:
    registry.register(1)
    with registry.database.transaction() as session:
        service.record_deployment(
            session, ADA, "caps", 1, rollout="r1", event="started", devices=3, at=1.0
        )
        service.set_alias(session, ADA, "caps", "production", 1)
        service.record_deployment(session, ADA, "caps", 1, rollout="r1", event="finished", at=2e12)
        entries = service.timeline(session, ADA, "caps")
    assert [(e["kind"], e.get("event"), e.get("alias")) for e in entries] == [
        ("deployment", "started", None),
        ("promotion", None, "production"),
        ("deployment", "finished", None),
    ]


def test_notes_are_about_something_that_is_there(registry: Registry) -> None:
    _, build = registry.register(1)
    with registry.database.transaction() as session:
        for subject in ("model/caps", "model/caps/1", f"build/{build.digest}"):
            service.add_note(session, OPERATOR, subject, f"  about {subject} ")
            assert [n.text for n in service.notes(session, ADA, subject)] == [f"about {subject}"]
        for subject in ("model/lids", "model/caps/9", f"build/{'f' * 64}"):
            with pytest.raises(NotFoundError):
                service.add_note(session, OPERATOR, subject, "x")
        for subject in ("", "model", "model/", "model/caps/one", "build/", "user/ada"):
            with pytest.raises(InvalidError, match="nothing to write about"):
                service.add_note(session, OPERATOR, subject, "x")
        for words in (" ", "x" * 4001):
            with pytest.raises(InvalidError, match="1 to 4000 characters"):
                service.add_note(session, OPERATOR, "model/caps", words)
