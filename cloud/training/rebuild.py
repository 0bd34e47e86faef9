"""`version rebuild`: train a version again from what is kept of it, and say how far off it is.

Registers nothing: it answers whether the history can be repeated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from cloud import isolation, provenance
from cloud.access.principal import Principal, Role, require, service_principal
from cloud.blobs.store import BlobStore
from cloud.building.refusal import digest
from cloud.datasets import service as datasets
from cloud.datasets.service import DatasetManifest, Split
from cloud.errors import ConflictError
from cloud.jobs import service as jobs
from cloud.jobs.context import Handler, JobContext
from cloud.jobs.models import Job
from cloud.registry import service as registry
from cloud.registry.models import ModelVersion
from cloud.training import service, workspace
from cloud.training.models import TrainingJob
from cloud.training.parameters import TrainingParameters
from cloud.training.progress import ProgressLine, Tail
from cloud.training.workspace import Workspace
from protocol.builds import Format, Precision
from protocol.bundles import MODEL_PATH, Manifest

KIND = "rebuild"
PRINCIPAL = service_principal("rebuild")
CHILD = (sys.executable, "-m", "cloud.training.child")


def request(session: Session, principal: Principal, model: str, number: int) -> Job:
    """Queue a rebuild.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: it cannot be made again, and why; or it is being made already.
    """
    require(principal, Role.OPERATOR)
    version = registry.get_version(session, principal, model, number)
    _check_source(version)
    _start_weights(session, version)
    subject = f"model/{model}/{number}"
    for job in jobs.open_of(session, subject):
        if job.kind == KIND:
            raise ConflictError(
                f"job {job.id} rebuilds {model} {number} already",
                f"`argosy job watch {job.id}`, or cancel it",
            )
    return jobs.request(session, principal, KIND, subject, {})


def handler(child: Sequence[str] = CHILD) -> Handler:
    """The rebuild's work. `child` trains; tests give a stand-in."""

    def work(context: JobContext) -> Mapping[str, Any]:
        _, model, number = context.job.subject.split("/")
        with context.database.reading() as session:
            version = registry.get_version(session, PRINCIPAL, model, int(number))
            _check_source(version)
            start = _start_weights(session, version)
            held = datasets.get_version(
                session, PRINCIPAL, version.dataset, version.dataset_version
            )
            parameters = _recipe(session, version)
            original_onnx = _onnx_digest(session, context.store, version)
        _check_blobs(context.store, version, start)
        dataset = datasets.read_manifest(context.store, held)
        _check_images(context.store, dataset, parameters)
        context.progress("preparing")
        place = Workspace(context.folder / "workspace")
        place.folder.mkdir()
        start_from = None if start is None else context.store.path(start)
        workspace.prepare(place, context.store, dataset, parameters, start_from)
        line = _train(context, place, child)
        context.progress("comparing")
        result = {
            "model": version.model,
            "version": version.number,
            **_compared(context, version, place, original_onnx),
            "selection_map50": _figures(version, line),
            "deterministic": parameters.deterministic,
            "seed": parameters.seed,
            "environment": changes(version.lineage.get("environment"), provenance.environment()),
        }
        context.log(json.dumps(result, sort_keys=True))
        return result

    return work


def _check_source(version: ModelVersion) -> None:
    if version.source != "training":
        raise ConflictError(
            f"version {version.number} of {version.model} was imported: it was not made here",
            "rebuild versions that were trained on this hub",
        )


def _start_weights(session: Session, version: ModelVersion) -> str | None:
    """Digest of the checkpoint that it started from; None: untrained."""
    weights = version.lineage.get("weights")
    if weights == service.SCRATCH:
        return None
    if weights == service.PARENT and version.parent is not None:
        return registry.get_version(
            session, PRINCIPAL, version.model, version.parent
        ).weights_sha256
    start: str | None = version.lineage.get("start_sha256")
    if start is not None:
        return start
    raise ConflictError(
        f"version {version.number} of {version.model} started from {weights}, which the hub has "
        "not kept",
        "rebuild a version whose start is kept: trained from scratch, from a version, or from a "
        "checkpoint that this hub opened",
    )


def _recipe(session: Session, version: ModelVersion) -> TrainingParameters:
    """As the job had it, else as the lineage tells it, which leaves out what was None."""
    job = session.get(TrainingJob, version.lineage.get("job", ""))
    found = version.lineage["parameters"] if job is None else job.parameters
    return TrainingParameters.model_validate(found)


def _check_blobs(store: BlobStore, version: ModelVersion, start: str | None) -> None:
    """Raises ConflictError naming what is gone, before anything is copied."""
    needed = {
        "the manifest of its dataset": version.dataset_digest,
        "its weights": version.weights_sha256,
        "the weights it started from": start,
    }
    gone = [f"{what} ({d[:12]})" for what, d in needed.items() if d and not store.has(d)]
    if gone:
        raise ConflictError(
            f"version {version.number} of {version.model} cannot be made again: "
            f"{', '.join(gone)} is gone",
            "bring the blob back",
        )


def _check_images(
    store: BlobStore, dataset: DatasetManifest, parameters: TrainingParameters
) -> None:
    items = [*workspace.training_items(dataset, parameters), *dataset.of(Split.SELECTION)]
    gone = sorted({item.image for item in items if not store.has(item.image)})
    if gone:
        listed = ", ".join(digest[:12] for digest in gone[:5])
        raise ConflictError(
            f"{len(gone)} of the dataset's {len(items)} images are gone: {listed}",
            "bring the blobs back",
        )


def _onnx_digest(session: Session, store: BlobStore, version: ModelVersion) -> str | None:
    """Of the version's fp32 ONNX file; None where it has none."""
    for build in registry.builds_of(session, version):
        if not store.has(build.digest):
            continue
        manifest = Manifest.model_validate_json(store.read(build.digest))
        identity = manifest.build
        if (identity.format, identity.precision) == (Format.ONNX, Precision.FP32):
            return next(f.blob.sha256 for f in manifest.files if f.path == MODEL_PATH)
    return None


def _train(context: JobContext, place: Workspace, child: Sequence[str]) -> ProgressLine | None:
    """Run the training as the queue does; its last validated progress line."""
    tail = Tail(place.progress)
    last: ProgressLine | None = None

    def follow() -> None:
        nonlocal last
        for line in tail.lines():
            last = line
            context.progress(line.stage, line.epoch, line.epochs, losses=line.losses)

    context.child([*child, str(place.folder)], environment=place.environment(), on_poll=follow)
    follow()
    return last


def _compared(
    context: JobContext, version: ModelVersion, place: Workspace, original_onnx: str | None
) -> dict[str, Any]:
    out, scratch = context.folder / "difference.json", context.folder / "scratch"
    scratch.mkdir()
    original = context.store.path(version.weights_sha256)
    program = [sys.executable, "-m", "cloud.training.compare", str(original), str(place.weights)]
    program.append(str(out.absolute()))
    if original_onnx is not None and context.store.has(original_onnx):
        program += [str(context.store.path(original_onnx)), str(place.onnx)]
    context.child(isolation.command(scratch.absolute(), program))
    said = json.loads(out.read_text())
    weights, rebuilt_onnx = said["weights"], digest(place.onnx)[0]
    equal = not weights["missing"] and weights["equal"] == weights["tensors"]
    return {
        "identical": equal and said["same_graph"] is not False,
        "weights_equal": equal,
        "weights": weights,
        "onnx_equal": None if original_onnx is None else rebuilt_onnx == original_onnx,
        "onnx_same_graph": said["same_graph"],
    }


def _figures(version: ModelVersion, line: ProgressLine | None) -> dict[str, float | None]:
    """mAP50 on the selection split at the end of the training, then and now."""
    then = (version.lineage.get("selection") or {}).get("map50")
    now = None if line is None else line.map50
    apart = None if then is None or now is None else now - then
    return {"then": then, "now": now, "difference": apart}


def changes(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """What the libraries were and are.

    Returns:
        {"then", "now", "changed": names whose versions differ}; `then` is None, and nothing is
        said of changes, where the version does not tell.
    """
    if then is None:
        return {"then": None, "now": dict(now), "changed": None}
    changed = sorted(n for n in then.keys() | now.keys() if then.get(n) != now.get(n))
    return {"then": dict(then), "now": dict(now), "changed": changed}
