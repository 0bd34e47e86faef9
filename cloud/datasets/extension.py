"""A new version out of a version and the annotated samples that came since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session

from cloud.access.principal import Principal, Role, require
from cloud.annotation import service as annotation
from cloud.annotation.models import AnnotationTask
from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.datasets import manifest as manifests
from cloud.datasets import service
from cloud.datasets.boxes import LabelBox, from_pixels
from cloud.datasets.images import ImageLimits, image_facts
from cloud.datasets.manifest import TAG_CHARACTERS_MAX, DatasetManifest, Item
from cloud.datasets.models import DatasetVersion
from cloud.datasets.splits import LeftOut, Plan, Split, SplitRules, plan_harvest
from cloud.errors import InvalidError
from cloud.fleet import service as fleet


@dataclass(frozen=True)
class Extension:
    """What joins which version.

    Attributes:
        parent: number of the version to start from; None: the newest.
        cameras: take samples of these only; none named: of all.
        repeat: how often training sees a joining image in an epoch.
    """

    parent: int | None = None
    cameras: tuple[str, ...] = ()
    repeat: int = 1


def extend(
    database: Database,
    store: BlobStore,
    principal: Principal,
    name: str,
    extension: Extension,
    *,
    rules: SplitRules,
    limits: ImageLimits,
) -> DatasetVersion:
    """Register the version. Images are decoded between two short transactions.

    Only samples join whose build told the same classes apart as the dataset does.

    Raises:
        InvalidError: no annotated sample would change anything.
    """
    require(principal, Role.OPERATOR)
    with database.reading() as session:
        parent = service.get_version(session, principal, name, extension.parent)
        tasks = [
            task
            for task in annotation.done_tasks(session, extension.cameras)
            if task.class_names == parent.class_names
        ]
        places = _places(session, principal, {task.device_id for task in tasks})
    old = service.read_manifest(store, parent)
    joining = [
        _item(task, store, limits, extension.repeat, places.get(task.device_id))
        for task in _latest(tasks)
    ]
    manifest, left_out = join(old, parent.digest, joining, rules)
    if manifest.items == old.items:
        raise InvalidError(
            f"no annotated sample would add to dataset {name} version {parent.number}",
            "annotate samples first: `argosy annotate list` shows what waits",
        )
    store.put([manifests.canonical(manifest)])
    with database.transaction() as session:
        return service.register_version(
            session, principal, name, manifest, left_out, parent=parent.number
        )


def join(
    old: DatasetManifest, old_digest: str, joining: Sequence[Item], rules: SplitRules
) -> tuple[DatasetManifest, list[LeftOut]]:
    """`old` with the joining items in their splits, and the list of who was left out.

    An image that is in `old` already keeps its split and takes the new labels; a golden
    one keeps its labels too, for what judges does not change. Tags that are known stay: the
    device may stand elsewhere by now.
    """
    items = {item.image: item for item in old.items}
    fresh = []
    for item in joining:
        known = items.get(item.image)
        if known is None or known.split is Split.GOLDEN:
            fresh.append(item)
        else:
            kept = {"split": known.split, "tags": known.tags or item.tags}
            items[item.image] = item.model_copy(update=kept)
    plan = _plan(old, fresh, rules)
    for index, split in plan.splits.items():
        items[fresh[index].image] = fresh[index].model_copy(update={"split": split})
    return manifests.build(old.class_names, list(items.values()), old_digest), plan.left_out


def _plan(old: DatasetManifest, fresh: Sequence[Item], rules: SplitRules) -> Plan:
    return plan_harvest(
        [item.candidate() for item in fresh],
        golden=[item.candidate() for item in old.of(Split.GOLDEN)],
        held_out=[item.candidate() for item in old.of(Split.SELECTION, Split.CALIBRATION)],
        trained=[item.candidate() for item in old.of(Split.TRAIN)],
        rules=rules,
    )


def _latest(tasks: Sequence[AnnotationTask]) -> list[AnnotationTask]:
    """One task for each image: the last annotated one."""
    by_image = {task.image_sha256: task for task in sorted(tasks, key=lambda t: t.updated_at)}
    return list(by_image.values())


def _places(
    session: Session, principal: Principal, device_ids: set[str]
) -> dict[str, dict[str, str]]:
    """Tags that say where each device stands now; nothing of one that is not enrolled."""
    found = {}
    for device_id in fleet.known_ids(session, device_ids):
        device = fleet.get_device(session, principal, device_id)
        said = {"site": device.site, "line": device.labels.get("line")}
        tags = {tag: value[:TAG_CHARACTERS_MAX] for tag, value in said.items() if value}
        if tags:
            found[device_id] = tags
    return found


def _item(
    task: AnnotationTask,
    store: BlobStore,
    limits: ImageLimits,
    repeat: int,
    tags: dict[str, str] | None,
) -> Item:
    try:
        facts = image_facts(store.read(task.image_sha256), limits)
    except ValueError as error:
        raise InvalidError(
            f"the image of annotation task {task.id} cannot join: {error}",
            f"skip the task (POST /api/v1/annotation/tasks/{task.id}/skip) and extend again",
        ) from error
    return Item(
        image=facts.sha256,
        size_bytes=facts.size_bytes,
        width=facts.width,
        height=facts.height,
        suffix=facts.suffix,
        split=Split.TRAIN,
        boxes=_labels(task),
        difference_hash=facts.difference_hash.hex(),
        source=f"annotation:{task.id}",
        camera=task.camera,
        captured_at=task.captured_at or task.created_at,
        weight=repeat,
        tags=tags,
    )


def _labels(task: AnnotationTask) -> tuple[LabelBox, ...]:
    return tuple(
        from_pixels(box["class_id"], tuple(box["box"]), task.width, task.height)
        for box in task.boxes or []
    )
