"""Builds that need a GPU: what makes and runs them stands elsewhere, the pipeline is the same.

`ByRuntime` stands where the hub's own runner stands, and `RemoteMaker` where its maker stands.
What the hub can do by itself they do here; the rest goes over the desk to a worker.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.building.making import Artifact, Base, Maker, Ranking, label, size_of
from cloud.building.targets import BuildTarget, parse
from cloud.building.worker_cache import sha256_of
from cloud.building.worker_desk import POLL_S, Desk, Done, Status
from cloud.building.worker_fit import Ordered, bound_to
from cloud.building.worker_schemas import PlanOrder, RunOrder, TaskImage, image_name
from cloud.children import ChildFailed
from cloud.errors import InvalidError
from cloud.shipped import (
    CONFIDENCE_FLOOR,
    OnProgress,
    ShippedResult,
    ShippedRun,
    ShippedRunner,
)
from protocol.builds import BuildIdentity, Format, Precision, ShortText
from protocol.bundles import MANIFEST_PATH, MODEL_FILES, Manifest
from protocol.windows import WindowStats

HUB_RUNTIMES = ("onnxruntime", "openvino")
"""What the hub runs by itself."""

LINE_BYTES_MAX = 1024 * 1024
DETECTIONS_MAX = 10_000
WAIT_TOLD_AFTER_S = 3.0
SUMMARY_KEYS_MAX = 64

Say = Callable[[Status], None]


class PlanSummary(BaseModel):
    """What a worker says of a plan: what it is bound to, and how it was made."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    gpu_name: ShortText
    compute_capability: ShortText
    tensorrt_version: ShortText
    driver_version: ShortText
    file_precision: Precision
    precision: Precision
    batch: int = Field(ge=1, le=256)
    build_s: float = Field(ge=0)


@dataclass(frozen=True)
class RemoteRunner(ShippedRunner):
    """Has bundles run by workers, on whatever runtime they are for.

    Attributes:
        say: told how far a task is, as long as it is waited for.
    """

    desk: Desk | None = None
    say: Say = lambda status: None  # noqa: ARG005

    def run(
        self,
        bundle: Path,
        images: Sequence[Path],
        work: Path,
        floor: float = CONFIDENCE_FLOOR,
        *,
        latency_frames: int = 0,
        on_progress: OnProgress = lambda done, total: None,  # noqa: ARG005
    ) -> ShippedRun:
        """As of `ShippedRunner`.

        Raises:
            ChildFailed: a worker failed at it, or answered something else than was asked.
            ChildCanceled: `canceled()` came true.
            InvalidError: nobody took it in time, or this hub has no workers.
        """
        manifest = Manifest.model_validate_json((bundle / MANIFEST_PATH).read_bytes())
        paths = {p: bundle / p for p in (MANIFEST_PATH, *(f.path for f in manifest.files))}
        digests = {path: sha256_of(path) for path in (*paths.values(), *images)}
        try:
            order = RunOrder(
                bundle={name: digests[path] for name, path in paths.items()},
                images=tuple(
                    TaskImage(sha256=digests[path], suffix=path.suffix.lower()) for path in images
                ),
                floor=floor,
                latency_frames=latency_frames,
            )
        except ValidationError as error:
            raise ChildFailed(f"no worker can be asked for that: {error}") from error
        files = {digest: path for path, digest in digests.items()}
        ordered = Ordered(order, manifest.build, files, work)

        def tell(status: Status) -> None:
            self.say(status)
            if status.worker is not None and status.total:
                on_progress(status.done, status.total)

        done = _desk(self.desk).get_done(ordered, canceled=self.canceled, tell=tell)
        return read_run(done, images)


@dataclass(frozen=True)
class ByRuntime(RemoteRunner):
    """Runs what the hub can run, and has the rest run by workers."""

    def run(
        self,
        bundle: Path,
        images: Sequence[Path],
        work: Path,
        floor: float = CONFIDENCE_FLOOR,
        *,
        latency_frames: int = 0,
        on_progress: OnProgress = lambda done, total: None,  # noqa: ARG005
    ) -> ShippedRun:
        """As of `RemoteRunner`."""
        manifest = Manifest.model_validate_json((bundle / MANIFEST_PATH).read_bytes())
        here = manifest.build.runtime in HUB_RUNTIMES
        run = ShippedRunner.run if here else RemoteRunner.run
        return run(
            self, bundle, images, work, floor,
            latency_frames=latency_frames, on_progress=on_progress,
        )  # fmt: skip


@dataclass(frozen=True)
class RemoteMaker(Maker):
    """Makes the artifacts of GPU targets too; plans are built by workers."""

    desk: Desk | None = None
    canceled: Callable[[], bool] = lambda: False
    say: Say = lambda status: None  # noqa: ARG005

    def derived(
        self,
        target: BuildTarget,
        base: Base,
        images: Sequence[Path],
        rung: int,
        ranking: Ranking | None = None,
    ) -> Artifact:
        """As of `Maker`. What is not on the CPU computes one of the hub's own ONNX files.

        Raises:
            InvalidError: nobody built the plan in time, or as `Maker` does.
            ChildFailed, ChildCanceled: the worker or the child did not end well.
        """
        if target.on_cpu:
            return super().derived(target, base, images, rung, ranking)
        onnx = self._onnx(target, base, images)
        if target.format is not Format.TENSORRT:
            return onnx
        return self._plan(target, base, onnx)

    def _onnx(self, target: BuildTarget, base: Base, images: Sequence[Path]) -> Artifact:
        """The ONNX file that the target computes: in half, or the base as it is.

        A plan in half is built of a file in half. TensorRT takes the precision of each tensor
        from it, in every version, and decodes boxes in fp32 as the file does; from version 11
        on there is no other way.
        """
        if target.precision is not Precision.FP16:
            return Artifact(
                {MODEL_FILES[Format.ONNX][0]: base.onnx}, base.opset, base.facts, head=base.head
            )
        half = parse(f"onnx-fp16@{size_of(target)}", target.width)
        apart = replace(self, folder=self.folder / target.name)
        return Maker.derived(apart, half, base, images, 0)

    def _plan(self, target: BuildTarget, base: Base, onnx: Artifact) -> Artifact:
        (path,) = onnx.files.values()
        digest = sha256_of(path)
        computed = target.runtime_precision
        file_precision = computed if computed is Precision.FP16 else Precision.FP32
        order = PlanOrder(
            onnx=digest,
            file_precision=file_precision,
            precision=computed,
            batch=target.batch,
        )
        identity = target.identity(None)
        folder = self.folder / f"{label(target)}-plan"
        stage = f"building {label(target)}"

        def tell(status: Status) -> None:
            self.say(status)
            if status.worker is not None and status.total:
                self.tell(stage, status.done, status.total)

        self.tell(stage, 0, 0)
        done = _desk(self.desk).get_done(
            Ordered(order, identity, {digest: path}, folder), canceled=self.canceled, tell=tell
        )
        summary = read_plan(done, identity, order)
        return Artifact(
            {MODEL_FILES[Format.TENSORRT][0]: done.outputs["engine"]},
            None,
            {**onnx.notes, "worker": done.worker.name, "onnx_sha256": digest}
            | summary.model_dump(mode="json"),
            head=base.head,
            bound={
                "compute_capability": summary.compute_capability,
                "tensorrt_version": summary.tensorrt_version,
            },
        )


def read_plan(done: Done, identity: BuildIdentity, order: PlanOrder) -> PlanSummary:
    """What a worker said of its plan.

    Raises ChildFailed where that cannot be, or the plan is of another machine than it said
    that it has.
    """
    try:
        summary = PlanSummary.model_validate_json(done.outputs["summary"].read_bytes())
    except (OSError, ValidationError) as error:
        raise ChildFailed(
            f"worker {done.worker.name}: its summary cannot be read: {error}"
        ) from error
    machine = bound_to(identity, done.worker.capabilities)
    said = (summary.compute_capability, summary.tensorrt_version)
    if said != (machine.compute_capability, machine.tensorrt_version):
        raise ChildFailed(
            f"worker {done.worker.name}: the plan is for {said}, its machine has "
            f"{(machine.compute_capability, machine.tensorrt_version)}"
        )
    if (summary.precision, summary.file_precision, summary.batch) != (
        order.precision,
        order.file_precision,
        order.batch,
    ):
        raise ChildFailed(f"worker {done.worker.name}: the plan is not what was asked for")
    if done.outputs["engine"].stat().st_size == 0:
        raise ChildFailed(f"worker {done.worker.name}: the engine is empty")
    return summary


def read_run(done: Done, images: Sequence[Path]) -> ShippedRun:
    """A worker's answers, under the names that the images have here.

    Raises ChildFailed where they are not what was asked for.
    """
    try:
        with done.outputs["predictions"].open("rb") as file:
            results = list(_results(file, images))
        summary = _finite(done.outputs["summary"])
        stats = WindowStats.model_validate_json(done.outputs["stats"].read_bytes())
    except (OSError, ValueError) as error:  # pydantic's error is a ValueError
        raise ChildFailed(
            f"worker {done.worker.name}: its answers cannot be read: {error}"
        ) from error
    return ShippedRun(results, {**summary, "worker": done.worker.name}, stats)


def _results(lines: Any, images: Sequence[Path]) -> Iterable[ShippedResult]:
    for number, image in enumerate(images):
        line = lines.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise ValueError(f"answer {number} of {len(images)} is missing or too long")
        result = ShippedResult.model_validate_json(line)
        if Path(result.image).name != image_name(number, image.suffix.lower()):
            raise ValueError(f"answer {number} is of {result.image[-80:]!r}, not of its image")
        if len(result.detections) > DETECTIONS_MAX:
            raise ValueError(f"answer {number} has {len(result.detections)} detections")
        yield result.model_copy(update={"image": str(image)})
    if lines.read(1):
        raise ValueError(f"there are more than {len(images)} answers")


def _finite(path: Path) -> dict[str, Any]:
    """A JSON object without NaN and infinities, which no table takes."""
    found = json.loads(path.read_bytes(), parse_float=_number, parse_constant=_no_number)
    if not isinstance(found, dict) or len(found) > SUMMARY_KEYS_MAX:
        raise ValueError("the summary is no object, or a large one")
    return found


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text[:20]} is no finite number")


def _desk(desk: Desk | None) -> Desk:
    if desk is None:
        raise InvalidError(
            "this needs a GPU, and here no worker is listened to", "ask the running hub for it"
        )
    return desk


def saying(tell: Callable[[str, float, float], None]) -> Say:
    """Tells a job's stage where its task lies for a while, and who takes it then; at once where
    nobody is there who could take it."""
    untaken_polls, lacked = 0, False

    def say(status: Status) -> None:
        nonlocal untaken_polls, lacked
        waited = lacked or untaken_polls * POLL_S > WAIT_TOLD_AFTER_S
        untaken_polls = untaken_polls + 1 if status.worker is None else 0
        lacked = bool(status.lack)
        if status.worker is None and (lacked or waited):
            tell(status.lack or "waiting for a GPU worker", 0, 0)
        elif waited:
            tell(f"on {status.worker}", 0, 0)

    return say


def through(desk: Desk, maker: Maker, agent: ShippedRunner) -> tuple[Maker, ShippedRunner]:
    """The same maker and runner, with workers for what the hub cannot do."""
    say = saying(maker.tell)
    return (
        RemoteMaker(
            maker.folder,
            maker.run_child,
            maker.tell,
            maker.command,
            desk=desk,
            canceled=agent.canceled,
            say=say,
        ),
        ByRuntime(agent.command, agent.canceled, desk=desk, say=say),
    )
