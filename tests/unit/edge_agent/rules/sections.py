"""Rules and shelves for tests."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.results import FrameResult
from edge_agent.rules.settings import RuleSection, ShelfSection
from tests.fixtures.seeing import detections, result

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def rule(**keys: object) -> RuleSection:
    return RuleSection.model_validate({"id": "r1", "channels": ("c1",), **keys})


def shelf(**keys: object) -> ShelfSection:
    given: dict[str, object] = {
        "id": "s1",
        "camera": "cam",
        "items": {"class 0": {"low": 2}},
        "channels": ("c1",),
    }
    return ShelfSection.model_validate(given | keys)


def apart(count: int, class_id: int = 0, *, at_s: float = 1000.0, index: int = 0) -> FrameResult:
    """A result with `count` served boxes of one class side by side, 4 px wide, from x = 0."""
    given = result(detections(*[(0.9, class_id)] * count), at_s=at_s, index=index)
    boxes = given.detections.boxes.copy()
    for i in range(count):
        boxes[i] = (i * 5, 10, i * 5 + 4, 20)
    return replace(given, detections=replace(given.detections, boxes=boxes))


def renamed(given: FrameResult, *names: str, digest: str = "b" * 64) -> FrameResult:
    """The same result from a bundle with other class names."""
    manifest = given.manifest.model_copy(update={"class_names": names})
    return replace(given, manifest=manifest, bundle_digest=digest)
