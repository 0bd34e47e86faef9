"""The job of a gate: evaluations of both builds, the verdict, the record and the page."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from sqlmodel import Session

from cloud.access.principal import service_principal
from cloud.annotation import service as annotation
from cloud.annotation.models import AnnotationTask
from cloud.blobs.store import BlobStore
from cloud.datasets import service as datasets
from cloud.datasets.boxes import from_pixels
from cloud.datasets.models import DatasetVersion
from cloud.datasets.service import DatasetManifest, Item, LeftOut, Split
from cloud.errors import InvalidError
from cloud.evaluation.running import Evaluated
from cloud.jobs.context import Handler, JobContext
from cloud.promotion import comparing, evidence, gate, page, recent, service
from cloud.promotion.comparing import Answers, Comparison
from cloud.promotion.models import Evidence
from cloud.promotion.pair import Latency, PairedEvidence
from cloud.promotion.policy import GatePolicy, of_model
from cloud.registry import service as registry
from cloud.registry.models import Build
from protocol.builds import BuildIdentity
from protocol.bundles import Manifest, read_manifest

PRINCIPAL = service_principal("gate")
_SUFFIXES = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"BM", ".bmp"), (b"RIFF", ".webp"))


class Evaluations(Protocol):
    """Where a build's evaluations come from: looked up, or made where there are none."""

    def golden(self, build: Build, dataset: DatasetVersion) -> Evaluated:
        """On the golden images of a dataset version, with what was seen."""

    def robustness(self, build: Build, dataset: DatasetVersion) -> Mapping[str, float] | None:
        """mAP50 under each perturbation relative to clean, by its name; empty: not measured,
        None: the clean one is 0."""

    def recent(self, build: Build, images: Sequence[Item]) -> Evaluated:
        """On these labelled images, with what was seen."""


@dataclass(frozen=True)
class _Question:
    """What a gate compares, read in one transaction."""

    model: str
    alias: str
    candidate: int
    incumbent: int | None
    builds: service.Pairing
    dataset: DatasetVersion
    manifest: DatasetManifest
    trained_on: DatasetManifest | None
    policy: GatePolicy
    tasks: Sequence[AnnotationTask]
    judges: Sequence[Item]
    left_out: Sequence[LeftOut]


def gate_handler(
    evaluations_of: Callable[[JobContext], Evaluations], near_distance_max: int = 8
) -> Handler:
    """The handler of jobs of kind `gate`.

    Args:
        near_distance_max: golden images whose hash differs in at most so many bits from one
            that a model learned from do not judge.
    """

    def handle(context: JobContext) -> Mapping[str, Any]:
        return _run(context, evaluations_of(context), near_distance_max)

    return handle


def _run(context: JobContext, evaluations: Evaluations, near_distance_max: int) -> dict[str, Any]:
    with context.database.reading() as session:
        asked = _question(session, context.store, context.job.parameters, near_distance_max)
    context.progress("golden images", 0, 4)
    golden, pair = _pair(context, evaluations, asked)
    context.progress("verdict", 3, 4)
    result = gate.judge(pair, asked.policy)
    context.log(f"{result.verdict.value}: {result.reason}")
    subject = _subject(context, asked)
    record = evidence.record(subject, asked.policy, pair, golden, result)
    drawn = page.render(record, golden.better(), golden.worse(), context.store.read)
    context.check()
    record_ref = context.store.put([evidence.canonical(record)])
    page_ref = context.store.put([drawn.encode()])
    row = Evidence(
        **{k: v for k, v in vars(subject).items() if k in Evidence.model_fields},
        verdict=result.verdict.value,
        record_sha256=record_ref.sha256,
        page_sha256=page_ref.sha256,
    )
    with context.database.transaction() as session:
        service.record_evidence(session, PRINCIPAL, row, record_ref, page_ref)
    return {
        "evidence": subject.id,
        "verdict": result.verdict.value,
        "reason": result.reason,
        "more_images": result.more_images,
        "candidate": asked.candidate,
        "incumbent": asked.incumbent,
    }


def _question(
    session: Session, store: BlobStore, parameters: Mapping[str, Any], near_distance_max: int
) -> _Question:
    """Raises NotFoundError where a version or build has gone since it was asked, InvalidError
    where the incumbent learned from a golden image: it would be judged by what it knows."""
    model, candidate = str(parameters["model"]), int(parameters["candidate"])
    incumbent = parameters["incumbent"]
    row = registry.get_model(session, PRINCIPAL, model)
    version = registry.get_version(session, PRINCIPAL, model, candidate)
    dataset = datasets.get_version(session, PRINCIPAL, version.dataset, version.dataset_version)
    trained_on = None
    if incumbent is not None:
        other = registry.get_version(session, PRINCIPAL, model, incumbent)
        its = datasets.get_version(session, PRINCIPAL, other.dataset, other.dataset_version)
        trained_on = datasets.read_manifest(store, its)
    manifest = datasets.read_manifest(store, dataset)
    judges, left_out = list(manifest.of(Split.GOLDEN)), list[LeftOut]()
    if trained_on is not None:
        datasets.check_disjoint(manifest, trained_on)
        judges, left_out = datasets.near_across(manifest, trained_on, near_distance_max)
    return _Question(
        model=model,
        alias=str(parameters["alias"]),
        candidate=candidate,
        incumbent=incumbent,
        builds=service.pairing(
            session, PRINCIPAL, model, candidate, incumbent, target=parameters["target"]
        ),
        dataset=dataset,
        manifest=manifest,
        trained_on=trained_on,
        policy=of_model(row.policy, tuple(row.class_names)),
        tasks=annotation.done_tasks(session),
        judges=judges,
        left_out=left_out,
    )


def _pair(
    context: JobContext, evaluations: Evaluations, asked: _Question
) -> tuple[Comparison, PairedEvidence]:
    """The evidence of both builds, and the comparison on the golden images that is drawn."""
    ours, theirs, store = asked.builds.candidate, asked.builds.incumbent, context.store
    manifest = _manifest(store, ours)
    own = evaluations.golden(ours, asked.dataset)
    other = None if theirs is None else evaluations.golden(theirs, asked.dataset)
    critical = frozenset(
        i for i, name in enumerate(manifest.class_names) if name in asked.policy.critical_classes
    )
    golden = comparing.compare(
        asked.judges,
        _answers(manifest, own),
        None if theirs is None or other is None else _answers(_manifest(store, theirs), other),
        critical,
    )
    if not golden.paired.images:
        raise InvalidError(
            f"{asked.model} v{asked.candidate} has no golden images to be judged by",
            "import a dataset with a val folder",
        )
    context.progress("robustness", 1, 4)
    pair = PairedEvidence(
        class_names=manifest.class_names,
        known=_known(manifest, None if theirs is None else _manifest(store, theirs), asked),
        golden=golden.paired,
        newly_missed=golden.missed,
        newly_found=golden.found,
        candidate_robustness=evaluations.robustness(ours, asked.dataset),
        incumbent_robustness={}
        if theirs is None
        else evaluations.robustness(theirs, asked.dataset),
        candidate_latency=_latency(own),
        incumbent_latency=None if other is None else _latency(other),
    )
    context.progress("recent images", 2, 4)
    items = _recent_items(store, asked, manifest)
    if theirs is None or len(items) < asked.policy.recent_images_min:
        return golden, pair
    fresh = comparing.compare(
        items,
        _answers(manifest, evaluations.recent(ours, items)),
        _answers(_manifest(store, theirs), evaluations.recent(theirs, items)),
    )
    return golden, replace(pair, recent=fresh.paired)


def _known(ours: Manifest, theirs: Manifest | None, asked: _Question) -> frozenset[int]:
    """Class ids that the incumbent tells apart and was shown objects of."""
    if theirs is None or asked.trained_on is None:
        return frozenset()
    taught = {
        asked.trained_on.class_names[box.class_id]
        for item in asked.trained_on.of(Split.TRAIN)
        for box in item.boxes
    }
    both = taught & set(theirs.class_names)
    return frozenset(i for i, name in enumerate(ours.class_names) if name in both)


def _recent_items(store: BlobStore, asked: _Question, manifest: Manifest) -> list[Item]:
    tasks = recent.newest_random(
        asked.tasks,
        model=asked.model,
        class_names=manifest.class_names,
        known_images=frozenset(
            i.image for m in (asked.manifest, asked.trained_on) if m is not None for i in m.items
        ),
        images_max=asked.policy.recent_images,
    )
    return [_item(task, store) for task in tasks if store.has(task.image_sha256)]


def _item(task: AnnotationTask, store: BlobStore) -> Item:
    head = store.read_range(task.image_sha256, 0, 4)
    suffix = next((s for magic, s in _SUFFIXES if head.startswith(magic)), ".jpg")
    return Item(
        image=task.image_sha256,
        size_bytes=store.size_bytes(task.image_sha256),
        width=task.width,
        height=task.height,
        suffix=suffix,
        split=Split.GOLDEN,
        boxes=tuple(
            from_pixels(int(box["class_id"]), tuple(box["box"]), task.width, task.height)
            for box in task.boxes or ()
        ),
        difference_hash="",
        source=f"annotation:{task.id}",
        camera=task.camera,
        captured_at=task.captured_at,
    )


def _answers(manifest: Manifest, evaluated: Evaluated) -> Answers:
    return Answers(
        class_names=manifest.class_names,
        thresholds=manifest.thresholds,
        calibration=manifest.calibration,
        seen={image.image: image for image in evaluated.seen},
    )


def _latency(evaluated: Evaluated) -> Latency | None:
    median_ms = evaluated.metrics.get("latency_ms_median")
    if median_ms is None:
        return None
    machine = evaluated.metrics.get("machine") or {}
    return Latency(float(median_ms), str(machine.get("cpu", "")))


def _manifest(store: BlobStore, build: Build) -> Manifest:
    return read_manifest(store.read(build.digest), build.digest)


def _subject(context: JobContext, asked: _Question) -> evidence.Subject:
    ours, theirs = asked.builds.candidate, asked.builds.incumbent
    return evidence.Subject(
        id=uuid.uuid4().hex,
        model=asked.model,
        alias=asked.alias,
        candidate=asked.candidate,
        incumbent=asked.incumbent,
        candidate_build=ours.digest,
        incumbent_build=None if theirs is None else theirs.digest,
        target=BuildIdentity.model_validate(ours.identity).label(),
        dataset=f"{asked.dataset.dataset} {asked.dataset.number}",
        dataset_digest=asked.dataset.digest,
        at=time.time(),
        by=context.job.created_by,
        job=context.job.id,
        left_out=tuple(asdict(entry) for entry in asked.left_out),
    )
