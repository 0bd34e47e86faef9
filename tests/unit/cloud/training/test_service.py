"""Who may queue which training, and from which weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.database import Database
from cloud.datasets.models import Dataset, DatasetVersion
from cloud.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from cloud.registry import service as registry
from cloud.training import service
from cloud.training.parameters import TrainingParameters

ADA = Principal(PrincipalKind.USER, "ada", Role.ADMINISTRATOR)
OPERATOR = Principal(PrincipalKind.USER, "op", Role.OPERATOR)
VIEWER = Principal(PrincipalKind.USER, "vi", Role.VIEWER)
AS_THEY_ARE = TrainingParameters(epochs=0)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    database = Database(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    database.migrate()
    with database.transaction() as session:
        registry.create_model(session, ADA, "caps", ["scratch", "dent"])
        registry.create_model(session, ADA, "jars", ["lid"])
        session.add(Dataset(name="caps", created_at=0.0, created_by="ada"))
        session.flush()
        session.add(
            DatasetVersion(
                dataset="caps",
                number=1,
                digest="d" * 64,
                class_names=["scratch", "dent"],
                counts={},
                left_out=[],
                created_at=0.0,
                created_by="ada",
            )
        )
        session.flush()
        yield session
    database.close()


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    (tmp_path / "some.pt").write_bytes(b"a checkpoint")
    return str(tmp_path / "some.pt")


def test_a_checkpoint_runs_code_so_only_administrators_name_one(
    session: Session, checkpoint: str
) -> None:
    with pytest.raises(ForbiddenError):
        service.request_job(session, OPERATOR, "caps", "caps", weights=checkpoint)
    job = service.request_job(
        session, ADA, "caps", "caps", weights=checkpoint, parameters=AS_THEY_ARE
    )
    assert (job.state, job.weights) == ("QUEUED", checkpoint)


@pytest.mark.parametrize("weights", ["some.pt", "/nowhere/some.pt", "/etc/hostname", "../x.pt"])
def test_weights_that_are_no_checkpoint_are_refused(session: Session, weights: str) -> None:
    with pytest.raises(InvalidError, match="no checkpoint"):
        service.request_job(session, ADA, "caps", "caps", weights=weights)


def test_nothing_can_be_taken_as_it_is_from_scratch(session: Session) -> None:
    with pytest.raises(InvalidError, match="epochs is 0"):
        service.request_job(session, OPERATOR, "caps", "caps", parameters=AS_THEY_ARE)


def test_a_first_version_has_no_parent(session: Session) -> None:
    with pytest.raises(InvalidError, match="no version to start from"):
        service.request_job(session, OPERATOR, "caps", "caps", weights="parent")


def test_classes_must_be_the_models(session: Session) -> None:
    with pytest.raises((ConflictError, InvalidError)):
        service.request_job(session, OPERATOR, "jars", "caps")


def test_who_may_only_look_may_not_train(session: Session) -> None:
    with pytest.raises(ForbiddenError):
        service.request_job(session, VIEWER, "caps", "caps")


def test_a_job_that_is_not_there_is_named(session: Session) -> None:
    with pytest.raises(NotFoundError, match="no training job x"):
        service.get_job(session, VIEWER, "x")


def test_the_oldest_job_is_next_and_a_queued_one_is_cancelled_at_once(session: Session) -> None:
    first = service.request_job(session, OPERATOR, "caps", "caps")
    second = service.request_job(session, OPERATOR, "caps", "caps")
    second.created_at = first.created_at + 1
    service.cancel(session, OPERATOR, first.id)
    assert first.state == "CANCELED"
    claimed = service.claim_next(session)
    assert claimed is second
    assert claimed.state == "RUNNING"
    with pytest.raises(ConflictError):
        service.cancel(session, OPERATOR, first.id)


def test_what_a_stop_cut_off_fails_and_what_waited_goes_on_waiting(session: Session) -> None:
    begun = service.request_job(session, OPERATOR, "caps", "caps")
    service.claim_next(session)
    waiting = service.request_job(session, OPERATOR, "caps", "caps")
    service.fail_begun(session)
    assert (begun.state, waiting.state) == ("FAILED", "QUEUED")
    assert "start it again" in (begun.error or "")
