"""Datasets through the REST API: imports that end well and not, and versions that grow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.access.principal import Role, service_principal
from cloud.fleet import service as fleet
from tests.integration.cloud_learning.drawn import CLASS_NAMES, write_folder
from tests.integration.cloud_learning.hub import LearningHub, learning_hub
from tests.integration.cloud_learning.samples import label, send_back

pytestmark = pytest.mark.integration


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LearningHub]:
    with learning_hub(tmp_path / "hub") as hub:
        yield hub


def copy_to_train(folder: Path, end: bytes = b"") -> None:
    """A golden image in train, with `end` after its last byte, which no decoder looks at."""
    image = (folder / "images/val/10002.jpg").read_bytes()
    (folder / "images/train/zz.jpg").write_bytes(image + end)
    shutil.copyfile(folder / "labels/val/10002.txt", folder / "labels/train/zz.txt")


def test_an_import_splits_and_lists_what_it_left_out(hub: LearningHub, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", train=30, val=6)
    copy_to_train(folder, end=b"\0")
    done = hub.import_folder("shapes", folder, model="shapes")
    assert (done["state"], done["images_done"], done["images_total"]) == ("SUCCEEDED", 37, 37)
    version = hub.get("/datasets/shapes/versions/1")
    assert version["counts"] == {"train": 22, "selection": 4, "calibration": 4, "golden": 6}
    assert version["left_out"] == [
        {
            "image": "images/train/zz.jpg",
            "near": "images/val/10002.jpg",
            "distance": 0,
            "reason": "the same as an image of golden",
        }
    ]
    assert hub.get("/models/shapes")["class_names"] == list(CLASS_NAMES)
    again = hub.import_folder("shapes", folder)
    assert again["version"] == 1, "the same content is the same version"


def test_a_bad_folder_registers_nothing(hub: LearningHub, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", train=10, val=2)
    (folder / "labels/train/3.txt").unlink()
    done = hub.import_folder("shapes", folder, model="shapes")
    assert done["state"] == "FAILED"
    assert "labels/train/3.txt: the label file of images/train/3.jpg is missing" in done["error"]
    assert hub.get("/datasets")["items"] == []
    assert hub.get("/models")["items"] == []
    (folder / "labels/train/3.txt").write_text("")
    assert hub.import_folder("shapes", folder, model="shapes")["state"] == "SUCCEEDED"


def test_a_file_of_val_in_train_registers_nothing(hub: LearningHub, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", train=10, val=3)
    copy_to_train(folder)
    done = hub.import_folder("shapes", folder)
    assert done["state"] == "FAILED"
    assert "images/train/zz.jpg: the same file as images/val/10002.jpg of val" in done["error"]
    assert hub.get("/datasets")["items"] == []


def test_tags_of_a_folder_are_kept_counted_and_decide_what_is_held_out(
    hub: LearningHub, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "set", train=30, val=6)
    hub.import_folder("bare", folder)
    rows = [f"images/train/{n}.jpg,{'north' if n < 15 else 'south'},{n},Ulm" for n in range(30)] + [
        "images/val/10000.jpg,north,,"
    ]
    (folder / "tags.csv").write_text("image,camera,captured_at,site\n" + "\n".join(rows))
    hub.import_folder("shapes", folder)
    manifest = json.loads(hub.store.read(hub.get("/datasets/shapes/versions/1")["digest"]))
    held = {
        split: sorted(
            item["captured_at"] for item in manifest["items"] if item["split"] == split
            and "captured_at" in item
        )
        for split in ("selection", "calibration")
    }  # fmt: skip
    assert held == {"selection": [11, 12, 26, 27], "calibration": [13, 14, 28, 29]}
    by_tag = {t["tag"]: t for t in hub.get("/datasets/shapes/versions/1/tags")["items"]}
    assert by_tag["camera"]["counts"] == {"north": 16, "south": 15}
    assert by_tag["site"] == {"tag": "site", "images": 30, "values": 1, "counts": {"Ulm": 30}}
    assert hub.get("/datasets/bare/versions/1/tags")["items"] == []
    (folder / "tags.csv").unlink()
    again = hub.import_folder("bare", folder)
    assert again["version"] == 1, "a folder without tags is the version that it was"


def test_a_sample_joins_with_the_place_of_its_device(hub: LearningHub, tmp_path: Path) -> None:
    hub.import_folder("shapes", write_folder(tmp_path / "set", 30, 6))
    with hub.database.transaction() as session:
        principal = service_principal("tester", Role.ADMINISTRATOR)
        fleet.create_site(session, principal, "ulm", "UTC")
        fleet.enrol(session, principal, "dev-1", site="ulm", labels={"line": "x" * 100})
    label(hub, send_back(hub, 500), 500)
    hub.post("/datasets/shapes/versions", {}, 201)
    tags = hub.get("/datasets/shapes/versions/2/tags")["items"]
    assert {t["tag"]: t["counts"] for t in tags} == {
        "camera": {"north": 1}, "line": {"x" * 64: 1}, "site": {"ulm": 1},
    }  # fmt: skip


def test_a_model_with_other_classes_undoes_the_import(hub: LearningHub, tmp_path: Path) -> None:
    hub.post("/models", {"name": "shapes", "class_names": ["star"]}, 201)
    done = hub.import_folder("shapes", write_folder(tmp_path / "set", 10, 2), model="shapes")
    assert done["state"] == "FAILED"
    assert "tells star apart" in done["error"]
    assert hub.get("/datasets")["items"] == []


def test_annotated_samples_join_and_golden_neighbours_do_not(
    hub: LearningHub, tmp_path: Path
) -> None:
    hub.import_folder("shapes", write_folder(tmp_path / "set", 30, 6))
    seeds = [500, 501, 502, 10_001]
    for seed in seeds:
        label(hub, send_back(hub, seed), seed)
    send_back(hub, 503)
    other = send_back(hub, 504, camera="south")
    label(hub, other, 504)

    order = {"parent": 1, "add_annotations": True, "cameras": ["north"], "repeat": 3}
    version = hub.post("/datasets/shapes/versions", order, 201)
    assert (version["number"], version["parent"]) == (2, 1)
    assert (
        version["counts"]["train"] == hub.get("/datasets/shapes/versions/1")["counts"]["train"] + 3
    )
    assert [entry["near"] for entry in version["left_out"]] == ["import:images/val/10001.jpg"]
    refused = hub.post("/datasets/shapes/versions", {**order, "parent": 2}, 422)
    assert "no annotated sample would add" in refused["error"]["message"]


def test_tasks_are_listed_shown_and_checked(hub: LearningHub) -> None:
    first, second = send_back(hub, 500), send_back(hub, 501, camera="south")
    page = hub.get("/annotation/tasks?state=pending&limit=1")
    assert [t["id"] for t in page["items"]] == [first]
    rest = hub.get(f"/annotation/tasks?state=pending&limit=1&cursor={page['next']}")
    assert [t["id"] for t in rest["items"]] == [second]
    image = hub.api.get(page["items"][0]["image_url"])
    assert image.headers["content-type"] == "image/jpeg"
    assert image.content == (hub.folder / "500.jpg").read_bytes()
    bad = {"boxes": [{"class_id": 7, "box": [0, 0, 5, 5]}]}
    assert "class 7" in hub.put(f"/annotation/tasks/{first}", bad, 422)["error"]["message"]
    assert hub.post(f"/annotation/tasks/{first}/skip")["state"] == "skipped"
    assert hub.get(f"/annotation/tasks/{first}/history")["items"][0]["principal"] == "ada"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"weights": "/no/such.pt"}, "no checkpoint"),
        ({"weights": "parent"}, "has no version to start from"),
        ({"parent_version": 1}, "weights is not `parent`"),
        ({"parameters": {"imgsz": 100}}, "multiple of 32"),
        ({"parameters": {"cheat": 1}}, "cheat"),
        ({"dataset": "none"}, "no dataset none"),
        ({"dataset_version": 9}, "no version 9"),
        ({"model": "none"}, "no model none"),
    ],
)
def test_an_order_that_cannot_be_trained_is_refused(
    hub: LearningHub, drawn_folder: Path, order: dict[str, object], words: str
) -> None:
    hub.import_folder("shapes", drawn_folder, model="shapes")
    body = {"model": "shapes", "dataset": "shapes", **order}
    response = hub.api.post("/api/v1/training/jobs", json=body)
    assert response.status_code in (404, 422)
    assert words in response.json()["error"]["message"]
    assert hub.get("/training/jobs")["items"] == []
