"""Samples as telemetry brings them, and their labels as an annotator gives them."""

from __future__ import annotations

from cloud.annotation import service as annotation
from cloud.annotation.service import SampleIn
from cloud.blobs import service as blobs
from tests.integration.cloud_learning.drawn import CLASS_NAMES, draw
from tests.integration.cloud_learning.hub import LearningHub


def send_back(hub: LearningHub, seed: int, camera: str = "north") -> int:
    """Have a sample come back as telemetry brings it; the id of its annotation task."""
    path = hub.folder / f"{seed}.jpg"
    image, _objects = draw(seed)
    image.save(path, quality=90)
    ref = hub.store.put_file(path)
    sample = SampleIn(
        sample_id=f"sample-{seed}",
        device_id="dev-1",
        camera=camera,
        slot="shapes",
        frame_id=f"c-{seed}",
        image_sha256=ref.sha256,
        width=image.width,
        height=image.height,
        class_names=CLASS_NAMES,
        predictions=(),
        reason="random",
        selection_probability=0.2,
        captured_at=float(seed),
    )
    with hub.database.transaction() as session:
        blobs.record(session, ref, "image/jpeg")
        task = annotation.enqueue_sample(session, sample)
    assert task.id is not None
    return task.id


def label(hub: LearningHub, task_id: int, seed: int) -> None:
    boxes = [{"class_id": c, "box": box} for c, box in draw(seed)[1]]
    assert hub.put(f"/annotation/tasks/{task_id}", {"boxes": boxes})["state"] == "done"
