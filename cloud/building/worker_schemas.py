"""What a hub and its GPU workers say to each other."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from protocol.builds import Capabilities, Precision
from protocol.bundles import FILES_MAX, RelativePath
from protocol.chunks import Sha256

IMAGES_MAX = 100_000
MESSAGE_CHARACTERS_MAX = 4000

WorkerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
TaskId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
OutputName = Literal["predictions", "summary", "stats", "engine"]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TaskImage(_Said):
    """An image to look at.

    Attributes:
        suffix: says its format: `.png`.
    """

    sha256: Sha256
    suffix: str = Field(pattern=r"^(\.[a-z0-9]{1,8})?$")


def image_name(number: int, suffix: str) -> str:
    """What a worker calls the image at this place of an order."""
    return f"{number:06d}{suffix}"


class RunOrder(_Said):
    """A bundle to be run over images, as `argosy-agent evaluate` does.

    Attributes:
        bundle: digests by their path in it, the manifest with them.
        floor: confidence from which a detection is told.
        latency_frames: so many are timed one at a time, apart from the rest.
    """

    kind: Literal["run"] = "run"
    bundle: dict[RelativePath, Sha256] = Field(min_length=1, max_length=FILES_MAX + 1)
    images: tuple[TaskImage, ...] = Field(min_length=1, max_length=IMAGES_MAX)
    floor: float = Field(ge=0, le=1)
    latency_frames: int = Field(default=0, ge=0)


class PlanOrder(_Said):
    """A plan to be built of an ONNX file, as `argosy-agent build-engine` does."""

    kind: Literal["plan"] = "plan"
    onnx: Sha256
    file_precision: Precision
    precision: Precision
    batch: int = Field(ge=1, le=256)


WorkerOrder = Annotated[RunOrder | PlanOrder, Field(discriminator="kind")]

OUTPUTS: dict[str, tuple[OutputName, ...]] = {
    "run": ("predictions", "summary", "stats"),
    "plan": ("engine", "summary"),
}
"""What a task of each kind ends with."""


class WorkerHello(_Said):
    """A worker that asks for work: who it is, and what its machine can run."""

    name: WorkerName
    capabilities: Capabilities


class TaskView(_Said):
    """A task that a worker has.

    Attributes:
        lease: names this holding of it; all that is said of the task names it.
        lease_s: a worker that is silent for so long loses it.
    """

    id: TaskId
    lease: str
    lease_s: float
    order: WorkerOrder


class Claim(_Said):
    """What there is to do for who asked.

    Attributes:
        unfit: why tasks that wait are not for its machine.
    """

    task: TaskView | None = None
    unfit: tuple[str, ...] = ()


class TaskProgress(_Said):
    done: int = Field(ge=0)
    total: int = Field(ge=0)


class TaskWanted(_Said):
    """Whether the worker is to go on."""

    wanted: bool


class TaskFailure(_Said):
    """Why there is no result.

    Attributes:
        again: the fault was not the task's: another may take it.
    """

    message: str = Field(min_length=1, max_length=MESSAGE_CHARACTERS_MAX)
    again: bool = False


class WorkerView(_Said):
    """A worker as it was last heard of.

    Attributes:
        task: that it has.
        unfit: why tasks that wait are not for it.
    """

    name: str
    gpu_name: str | None
    compute_capability: str | None
    tensorrt_version: str | None
    runtimes: tuple[str, ...]
    silent_s: float
    task: str | None
    unfit: tuple[str, ...]


class WaitingView(_Said):
    """A task that is not done.

    Attributes:
        needs: the build that it is about, in words.
        worker: who has it.
    """

    id: str
    kind: str
    needs: str
    age_s: float
    worker: str | None
    done: int
    total: int


class DeskView(_Said):
    workers: tuple[WorkerView, ...]
    tasks: tuple[WaitingView, ...]
