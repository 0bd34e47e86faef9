"""Tasks, machines and a clock for tests of GPU workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.building.worker_desk import Desk, Done
from cloud.building.worker_fit import Ordered
from cloud.building.worker_schemas import PlanOrder, RunOrder, TaskImage, WorkerHello
from protocol.builds import BuildIdentity, Capabilities, Format, Precision, RuntimeCapability
from protocol.chunks import sha256_hex

DEADLINE_S = 20.0
FP32, FP16 = Precision.FP32, Precision.FP16
CUDA = RuntimeCapability(
    runtime="onnxruntime-cuda", version="1.30", formats=(Format.ONNX,), precisions=(FP32, FP16)
)
TENSORRT = RuntimeCapability(
    runtime="tensorrt",
    version="10.3.0",
    formats=(Format.TENSORRT,),
    precisions=(FP32, FP16, Precision.BF16),
)


def machine(
    *runtimes: RuntimeCapability, capability: str | None = "8.7", tensorrt: str | None = "10.3.0"
) -> Capabilities:
    return Capabilities(
        architecture="aarch64",
        runtimes=runtimes or (CUDA, TENSORRT),
        gpu_name="Orin",
        compute_capability=capability,
        tensorrt_version=tensorrt,
    )


def hello(name: str = "gpu-1", capabilities: Capabilities | None = None) -> WorkerHello:
    return WorkerHello(name=name, capabilities=capabilities or machine())


def identity(runtime: str = "onnxruntime-cuda", **more: Any) -> BuildIdentity:
    given = {
        "format": Format.TENSORRT if runtime == "tensorrt" else Format.ONNX,
        "precision": FP32,
        "runtime": runtime,
        "runtime_precision": FP32,
        "input_width": 64,
        "input_height": 64,
    }
    return BuildIdentity.model_validate({**given, **more})


def run_task(folder: Path, **more: Any) -> Ordered:
    """A run of a bundle of one file over one image."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name in ("manifest", "image"):
        data = f"{name} of {folder.name}".encode()
        files[sha256_hex(data)] = folder / name
        (folder / name).write_bytes(data)
    manifest, image = files
    order = RunOrder(
        bundle={"manifest.json": manifest},
        images=(TaskImage(sha256=image, suffix=".png"),),
        floor=0.1,
    )
    return Ordered(order, identity(**more), files, folder / "out")


def plan_task(folder: Path) -> Ordered:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(b"an onnx file")
    digest = sha256_hex(b"an onnx file")
    order = PlanOrder(onnx=digest, file_precision=FP16, precision=FP16, batch=1)
    wanted = identity("tensorrt", precision=FP16, runtime_precision=FP16)
    return Ordered(order, wanted, {digest: folder / "model.onnx"}, folder / "out")


@dataclass
class Clock:
    """Seconds that a test lets pass."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Waiter:
    """A job's thread that waits for a task."""

    desk: Desk
    ordered: Ordered
    canceled: Callable[[], bool] = lambda: False
    done: Done | None = None
    error: BaseException | None = None
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        laid = len(self.desk.view().tasks)
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()
        while self._thread.is_alive() and len(self.desk.view().tasks) == laid:
            threading.Event().wait(0.005)

    def _wait(self) -> None:
        try:
            self.done = self.desk.get_done(self.ordered, canceled=self.canceled)
        except BaseException as error:  # noqa: BLE001 - it is what the test looks at
            self.error = error

    def join(self) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
