"""Enrolment, desired states, commands."""

from __future__ import annotations

import pytest

from cloud.access.principal import Role, service_principal
from cloud.database import Database
from cloud.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from cloud.fleet import service
from protocol.messages import Desired, HarvestPolicy, SlotDesired
from protocol.topics import Kind, Topic
from tests.unit.cloud.conftest import OPERATOR, Api, Heard

SLOT = SlotDesired(bundle_digest="ab" * 32, manifest_bytes=900, model="factory", version=1)
NEWER = SLOT.model_copy(update={"bundle_digest": "cd" * 32, "version": 2})


@pytest.fixture
def enrolled(database: Database) -> Database:
    with database.transaction() as session:
        service.enrol(session, OPERATOR, "line-1", models=["factory"])
    return database


def set_slot(database: Database, slot: str, wanted: SlotDesired | None) -> int:
    with database.transaction() as session:
        return service.set_slot(session, OPERATOR, "line-1", slot, wanted)


def desired(database: Database) -> Desired:
    with database.reading() as session:
        state = service.desired(service.get_device(session, OPERATOR, "line-1"))
    assert state is not None
    return state


def test_a_device_is_enrolled_once(enrolled: Database) -> None:
    with enrolled.transaction() as session, pytest.raises(ConflictError):
        service.enrol(session, OPERATOR, "line-1")


@pytest.mark.parametrize("device_id", ["", "+", "a/b", "#", "-x", "x" * 65])
def test_an_id_that_is_no_topic_part_is_refused(database: Database, device_id: str) -> None:
    with database.transaction() as session, pytest.raises(InvalidError):
        service.enrol(session, OPERATOR, device_id)


def test_a_site_must_exist(database: Database) -> None:
    with database.transaction() as session, pytest.raises(NotFoundError, match="berlin"):
        service.enrol(session, OPERATOR, "line-1", site="berlin")


def test_a_viewer_changes_nothing(enrolled: Database) -> None:
    viewer = service_principal("v", Role.VIEWER)
    with enrolled.transaction() as session:
        for verb in (
            lambda: service.enrol(session, viewer, "line-2"),
            lambda: service.rotate_token(session, viewer, "line-1"),
            lambda: service.set_slot(session, viewer, "line-1", "factory", SLOT),
            lambda: service.create_site(session, viewer, "s", "UTC"),
        ):
            with pytest.raises(ForbiddenError):
                verb()


def test_desired_states_merge_and_count_up(enrolled: Database, heard: Heard) -> None:
    assert set_slot(enrolled, "factory", SLOT) == 1
    assert set_slot(enrolled, "shelf", SLOT) == 2
    assert set_slot(enrolled, "factory", NEWER) == 3
    assert set_slot(enrolled, "shelf", None) == 4
    assert desired(enrolled).slots == {"factory": NEWER}
    topics = [topic for topic, _ in heard.messages]
    assert topics == [Topic(Kind.DESIRED, device_id="line-1")] * 4
    generations = [Desired.model_validate_json(data).generation for _, data in heard.messages]
    assert generations == [1, 2, 3, 4]


def test_the_same_again_is_no_new_generation(enrolled: Database, heard: Heard) -> None:
    assert [set_slot(enrolled, "factory", SLOT) for _ in range(3)] == [1, 1, 1]
    assert len(heard.messages) == 1


def test_other_parts_of_the_desired_state_stay(enrolled: Database) -> None:
    policy = HarvestPolicy(images_per_hour=5)
    set_slot(enrolled, "factory", SLOT)
    with enrolled.transaction() as session:
        service.change_desired(session, OPERATOR, "line-1", harvest=policy, telemetry_window_s=2.0)
    set_slot(enrolled, "factory", NEWER)
    state = desired(enrolled)
    assert (state.harvest, state.telemetry_window_s) == (policy, 2.0)


def test_a_broker_that_forgot_is_told_all_states_and_open_commands(enrolled: Database) -> None:
    set_slot(enrolled, "factory", SLOT)
    with enrolled.transaction() as session:
        open_one = service.send_command(session, OPERATOR, "line-1", "report", {}, expires_s=60)
        service.send_command(session, OPERATOR, "line-1", "report", {}, expires_s=-1)
    with enrolled.reading() as session:
        standing = service.standing_messages(session)
    assert [topic.kind for topic, _ in standing] == [Kind.DESIRED, Kind.COMMANDS]
    assert open_one.id.encode() in standing[1][1]


def test_devices_by_the_api(api: Api) -> None:
    http = api.acting(Role.OPERATOR)
    assert http.post("/sites", json={"name": "berlin"}).status_code == 201
    body = {"device_id": "line-1", "site": "berlin", "labels": {"line": "a"}, "models": ["m"]}
    made = http.post("/devices", json=body)
    assert made.status_code == 201
    assert made.json()["device"]["running"] == {}
    change = {"slots": {"m": SLOT.model_dump(mode="json")}, "telemetry_window_s": 5}
    answer = http.put("/devices/line-1/desired", json=change)
    assert answer.json() == {"device_id": "line-1", "desired_generation": 1}
    shown = http.get("/devices/line-1").json()
    assert shown["desired"]["slots"]["m"]["version"] == 1
    assert shown["labels"] == {"line": "a"}
    assert http.get("/devices", params={"site": "nowhere"}).json()["items"] == []
    assert http.get("/devices/nope").status_code == 404
    assert http.post("/devices", json=body).status_code == 409


def test_rotating_a_token_ends_the_old_one(api: Api) -> None:
    http = api.acting(Role.OPERATOR)
    old = http.post("/devices", json={"device_id": "line-1"}).json()["token"]
    new = http.post("/devices/line-1/token").json()["token"]
    assert api.bearing(old).get("/device/link").status_code == 401
    assert api.bearing(new).get("/device/link").status_code == 200


def test_a_devices_token_opens_nothing_else(api: Api) -> None:
    token = api.acting(Role.OPERATOR).post("/devices", json={"device_id": "a"}).json()["token"]
    http = api.bearing(token)
    for path in ("/devices", "/devices/a", "/samples", "/audit", "/tokens", "/ingest/counters"):
        assert http.get(path).status_code == 403, path


def test_commands_by_the_api(api: Api) -> None:
    http = api.acting(Role.OPERATOR)
    http.post("/devices", json={"device_id": "a"})
    sent = http.post("/devices/a/commands", json={"name": "report"})
    assert sent.status_code == 202
    command_id = sent.json()["command_id"]
    shown = http.get(f"/devices/a/commands/{command_id}").json()
    assert (shown["state"], shown["ok"]) == ("pending", None)
    assert http.get("/devices/b/commands/" + command_id).status_code == 404
    assert http.post("/devices/a/commands", json={"name": "format"}).status_code == 422
