"""What is asked for over HTTP, and what is said at once of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cloud.access.principal import Role
from cloud.building.schemas import BuildsCreate
from cloud.input_sizes import SIDE_PX_MAX
from cloud.registry import service
from cloud.training.parameters import TrainingParameters
from tests.unit.cloud.building.desks import hello
from tests.unit.cloud.conftest import Api
from tests.unit.cloud.registry.conftest import ADA, CLASSES, Registry

BUILDS = "/models/caps/versions/1/builds"


@pytest.fixture
def caps(api: Api) -> Registry:
    """A version of a model on the hub."""
    made = Registry(api.hub.database, api.hub.blobs)
    with made.database.transaction() as session:
        service.create_model(session, ADA, "caps", CLASSES)
    made.register(1)
    return made


@pytest.fixture
def ask(caps: Registry, api: Api) -> Callable[..., Any]:
    assert caps
    http = api.acting(Role.ADMINISTRATOR)

    def asked(status: int, **body: Any) -> Any:
        answer = http.post(BUILDS, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    return asked


def test_a_gpu_target_says_at_once_that_no_worker_is_there(
    ask: Callable[..., Any], api: Api
) -> None:
    job = ask(202, targets=["tensorrt-fp16"])
    stage = job["progress"]["stage"]
    assert stage.startswith("no GPU worker has been heard of; it waits up to 4 h: argosy worker")
    assert api.http.get(f"/jobs/{job['id']}").json()["progress"] == {"stage": stage}
    assert ask(202, targets=["onnx-int8"])["progress"] == {}


def test_a_gpu_target_says_nothing_where_a_worker_asked(ask: Callable[..., Any], api: Api) -> None:
    api.hub.desk.claim(hello())
    assert ask(202, targets=["tensorrt-fp16"])["progress"] == {}


def test_a_brought_file_of_another_name_is_told_which_to_have(ask: Callable[..., Any]) -> None:
    error = ask(422, targets=["openvino-int8"], files={"bad.xml": "a" * 64})["error"]
    assert error["message"].endswith("lacks model.bin, model.xml")
    assert error["remedy"] == "name the files that you bring so: model.xml, model.bin"


def test_a_truth_is_no_number(caps: Registry, api: Api) -> None:
    assert caps
    http = api.acting(Role.ADMINISTRATOR)
    reason = "why ever not"
    for wrong in (True, "1", 1.5):
        for verb, path, body in (
            ("PUT", "floor", {"floor": wrong}),
            ("PUT", "aliases/candidate", {"number": wrong, "reason": reason}),
            ("POST", "promote", {"number": wrong, "force": True, "reason": reason}),
            ("POST", "versions/1/gate", {"against": wrong}),
            ("POST", "import", {"file": "/x.onnx", "dataset": "caps", "dataset_version": wrong}),
            ("POST", "import", {"file": "/x.onnx", "dataset": "caps", "imgsz": wrong}),
        ):
            answer = http.request(verb, f"/models/caps/{path}", json=body)
            assert answer.status_code == 422, (path, wrong)
            field = next(name for name in body if body[name] is wrong)
            assert field in answer.json()["error"]["message"], answer.text
    assert http.put("/models/caps/floor", json={"floor": 1}).status_code == 200


def test_what_is_trained_imported_and_built_has_the_same_largest_side(
    ask: Callable[..., Any], api: Api
) -> None:
    over = SIDE_PX_MAX + 32
    assert TrainingParameters(imgsz=SIDE_PX_MAX).imgsz == SIDE_PX_MAX
    with pytest.raises(ValueError, match=f"less than or equal to {SIDE_PX_MAX}"):
        TrainingParameters(imgsz=over)
    ask(202, targets=[f"onnx-int8@{SIDE_PX_MAX}"])
    ask(422, targets=[f"onnx-int8@{over}"])
    asked = {"file": "/x.onnx", "dataset": "caps", "imgsz": over}
    said = api.http.post("/models/caps/import", json=asked).json()["error"]["message"]
    assert f"less than or equal to {SIDE_PX_MAX}" in said
    assert BuildsCreate(targets=["onnx-int8"]).again is False
