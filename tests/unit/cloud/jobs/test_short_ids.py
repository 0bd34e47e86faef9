"""A job is named by the first digits of its id, and a rebuild is asked for once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Role
from cloud.database import Database
from cloud.datasets.models import Dataset
from cloud.errors import ConflictError, NotFoundError
from cloud.jobs import service
from cloud.jobs.models import Job
from cloud.registry import service as registry
from cloud.training import service as training
from cloud.training.models import TrainingJob
from tests.unit.cloud.conftest import OPERATOR, Api
from tests.unit.cloud.registry.conftest import ADA, CLASSES, Registry

IDS = ("abcdef01" + "0" * 24, "abcdef02" + "0" * 24)


def a_job(name: str) -> Job:
    return Job(id=name, kind="build", subject="model/caps/1", parameters={}, progress={},
               state="QUEUED", created_at=1.0, created_by="ada")  # fmt: skip


def a_training(name: str) -> TrainingJob:
    return TrainingJob(id=name, model="caps", dataset="caps", dataset_version=1, weights="scratch",
                       parameters={}, tags={}, progress={}, state="QUEUED", created_at=1.0,
                       created_by="ada")  # fmt: skip


@pytest.mark.parametrize(
    ("make", "get", "cancel"),
    [
        (a_job, service.get, service.cancel),
        (a_training, training.get_job, training.cancel),
    ],
)
def test_the_first_digits_of_an_id_name_a_job(
    database: Database,
    make: Callable[[str], Job | TrainingJob],
    get: Callable[..., Job | TrainingJob],
    cancel: Callable[..., Job | TrainingJob],
) -> None:
    with database.transaction() as session:
        registry.create_model(session, ADA, "caps", CLASSES)
        session.add(Dataset(name="caps", created_at=0.0, created_by="ada"))
        session.flush()
        session.add_all(map(make, IDS))
    with database.transaction() as session:
        assert get(session, OPERATOR, IDS[0]).id == IDS[0]
        assert get(session, OPERATOR, "abcdef02").id == IDS[1]
        for unknown in ("abcde", "ffffff", "abcdef%", ""):
            with pytest.raises(NotFoundError):
                get(session, OPERATOR, unknown)
        with pytest.raises(ConflictError, match="several jobs begin with abcdef"):
            get(session, OPERATOR, "abcdef")
        assert cancel(session, OPERATOR, "abcdef01").state == "CANCELED"
    assert _cancelled(database) == [IDS[0]]


def _cancelled(database: Database) -> list[str]:
    """Whole ids of the jobs that the audit names as canceled."""
    with database.reading() as session:
        return _ids(session)


def _ids(session: Session) -> list[str]:
    rows = access.list_audit(session, OPERATOR, None, None, 50)
    return [row.subject.rpartition("/")[2] for row in rows if row.verb.endswith(".cancel")]


def test_a_rebuild_that_is_under_way_is_not_asked_for_again(api: Api) -> None:
    made = Registry(api.hub.database, api.hub.blobs)
    with made.database.transaction() as session:
        registry.create_model(session, ADA, "caps", CLASSES)
    version, _ = made.register(1)
    with made.database.transaction() as session:
        row = registry.get_version(session, ADA, "caps", version.number)
        row.lineage = {**row.lineage, "weights": "scratch"}
        session.add(row)
    http = api.acting(Role.OPERATOR)
    first = http.post("models/caps/versions/1/rebuild")
    assert first.status_code == 202
    job = first.json()["id"]
    again = http.post("models/caps/versions/1/rebuild")
    assert again.status_code == 409
    assert f"argosy job watch {job}" in again.json()["error"]["remedy"]
    http.post(f"jobs/{job}/cancel")
    assert http.post("models/caps/versions/1/rebuild").status_code == 202
