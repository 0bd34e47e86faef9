"""Annotation tasks: enqueued once, labelled with checked boxes, revised with a history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.annotation import service
from cloud.annotation.service import BoxIn, SampleIn
from cloud.annotation.states import TaskState
from cloud.database import Database
from cloud.errors import ForbiddenError, HubError, InvalidError, NotFoundError

BEE = Principal(PrincipalKind.USER, "bee", Role.ANNOTATOR)
VIEWER = Principal(PrincipalKind.USER, "vi", Role.VIEWER)
SAMPLE = SampleIn(
    sample_id="s1",
    device_id="dev-1",
    camera="north",
    slot="caps",
    frame_id="c-1",
    image_sha256="a" * 64,
    width=200,
    height=100,
    class_names=("scratch", "dent"),
    predictions=({"class_id": 0, "confidence": 0.4, "box": [1, 2, 3, 4]},),
    reason="uncertain",
    selection_probability=0.5,
)
BOX = BoxIn(1, (10, 20, 60, 80))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    database = Database(f"sqlite:///{tmp_path / 'hub.sqlite3'}")
    database.migrate()
    with database.transaction() as session:
        yield session
    database.close()


def task_id(session: Session) -> int:
    found = service.enqueue_sample(session, SAMPLE).id
    assert found is not None
    return found


def test_a_sample_is_enqueued_once(session: Session) -> None:
    first = service.enqueue_sample(session, SAMPLE)
    assert service.enqueue_sample(session, SAMPLE).id == first.id
    service.enqueue_sample(session, replace(SAMPLE, sample_id="s2", camera="south"))
    assert len(service.list_tasks(session, BEE)) == 2
    (south,) = service.list_tasks(session, BEE, camera="south", state=TaskState.PENDING)
    assert south.sample_id == "s2"
    assert service.list_tasks(session, BEE, after=first.id or 0) == [south]


def test_labels_are_kept_and_said_again_change_nothing(session: Session) -> None:
    task = service.annotate(session, BEE, task_id(session), [BOX])
    assert (task.state, task.annotated_by) == ("done", "bee")
    assert task.boxes == [{"class_id": 1, "box": [10, 20, 60, 80]}]
    updated_at = task.updated_at
    again = service.annotate(session, BEE, task_id(session), [BOX])
    assert again.updated_at == updated_at
    assert len(service.history(session, BEE, task_id(session))) == 1


def test_revisions_are_all_kept(session: Session) -> None:
    number = task_id(session)
    service.skip(session, BEE, number)
    service.annotate(session, BEE, number, [BOX])
    service.annotate(session, replace(BEE, name="cy"), number, [])
    history = service.history(session, BEE, number)
    assert [(r.principal, r.state, len(r.boxes or [])) for r in history] == [
        ("bee", "skipped", 0),
        ("bee", "done", 1),
        ("cy", "done", 0),
    ]
    assert [t.id for t in service.done_tasks(session)] == [number]
    assert service.done_tasks(session, ["south"]) == []


def test_an_edge_just_outside_is_cut_to_the_image(session: Session) -> None:
    task = service.annotate(session, BEE, task_id(session), [BoxIn(0, (-1, -2, 201, 101.5))])
    assert task.boxes == [{"class_id": 0, "box": [0, 0, 200, 100]}]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (BoxIn(2, (10, 20, 60, 80)), "class 2 is out of range"),
        (BoxIn(-1, (10, 20, 60, 80)), "class -1 is out of range"),
        (BoxIn(0, (60, 20, 10, 80)), "is not x1 < x2"),
        (BoxIn(0, (10, 20, 10, 80)), "is not x1 < x2"),
        (BoxIn(0, (10, 20, 260, 80)), "inside of 200x100 px"),
        (BoxIn(0, (-9, 20, 60, 80)), "inside of 200x100 px"),
        (BoxIn(0, (200, 20, 201, 80)), "inside of 200x100 px"),
    ],
)
def test_a_bad_box_is_refused_by_number(session: Session, box: BoxIn, words: str) -> None:
    with pytest.raises(InvalidError, match="box 1: ") as refused:
        service.annotate(session, BEE, task_id(session), [BOX, box])
    assert words in refused.value.message
    assert service.get_task(session, BEE, task_id(session)).state == "pending"


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(-2, 3), st.tuples(*[st.floats(-300, 300)] * 4))
def test_what_is_stored_always_lies_inside(
    session: Session, class_id: int, box: tuple[float, float, float, float]
) -> None:
    try:
        task = service.annotate(session, BEE, task_id(session), [BoxIn(class_id, box)])
    except HubError:
        return
    assert task.boxes is not None
    x1, y1, x2, y2 = task.boxes[0]["box"]
    assert 0 <= x1 < x2 <= 200
    assert 0 <= y1 < y2 <= 100


def test_who_may(session: Session) -> None:
    with pytest.raises(ForbiddenError):
        service.annotate(session, VIEWER, task_id(session), [BOX])
    with pytest.raises(NotFoundError):
        service.skip(session, BEE, 99)
