"""Which labelled images from the lines a gate looks at, beside the golden ones. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloud.annotation.models import AnnotationTask

RANDOM = "random"


def newest_random(
    tasks: Iterable[AnnotationTask],
    *,
    model: str,
    class_names: Sequence[str],
    known_images: frozenset[str],
    images_max: int,
) -> list[AnnotationTask]:
    """The newest labelled images that nothing but chance has chosen, newest first.

    Doubtful images are harvested where the incumbent is weak, so a candidate would be flattered
    by them. One task for each image: the one that was labelled last.

    Args:
        model: the slot they were seen in, which is the model's name.
        known_images: digests of every image of the candidate's dataset version: what it was
            trained, selected or judged on tells nothing new.
    """
    latest: dict[str, AnnotationTask] = {}
    for task in sorted(tasks, key=lambda t: t.updated_at):
        if (
            task.reason == RANDOM
            and task.slot == model
            and task.class_names == list(class_names)
            and task.boxes is not None
            and task.image_sha256 not in known_images
        ):
            latest[task.image_sha256] = task
    newest = sorted(
        latest.values(), key=lambda t: (t.captured_at or t.created_at, t.id or 0), reverse=True
    )
    return newest[:images_max]
