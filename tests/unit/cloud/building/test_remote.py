"""What stands for the hub's own runner and maker, and what is believed of a worker."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cloud.building import worker_desk
from cloud.building.making import Artifact, Base, Maker
from cloud.building.remote import RemoteMaker, read_plan, read_run, saying, through
from cloud.building.targets import parse
from cloud.building.worker_desk import Desk, Done, Status
from cloud.building.worker_schemas import OutputName, PlanOrder, TaskProgress
from cloud.children import ChildFailed
from cloud.errors import InvalidError
from cloud.shipped import ShippedRunner
from protocol.builds import Precision
from protocol.windows import WindowStats
from tests.unit.cloud.building.desks import DEADLINE_S, hello, plan_task

IMAGES = [Path("/images/b.png"), Path("/images/a.png")]
ROW = {"width": 8, "height": 8, "latency_ms": 1.0, "luminance": 3.0}
BOX = {"class_id": 0, "confidence": 0.5, "box": [0, 0, 1, 1]}
PLAN = {
    "gpu_name": "Orin",
    "compute_capability": "8.7",
    "tensorrt_version": "10.3.0",
    "driver_version": "540.4.0",
    "file_precision": "fp16",
    "precision": "fp16",
    "batch": 1,
    "build_s": 61.5,
    "size_bytes": 5,
}


def rows(**changes: Any) -> list[dict[str, Any]]:
    return [
        {"image": f"/elsewhere/{n:06d}.png", "detections": [BOX], **ROW, **changes}
        for n in range(len(IMAGES))
    ]


def answered(folder: Path, lines: Sequence[Any] | bytes, summary: str = '{"fps": 3.5}') -> Done:
    """A run's outputs as a worker might bring them."""
    data = lines if isinstance(lines, bytes) else None
    text = "".join(json.dumps(line) + "\n" for line in lines) if data is None else ""
    files: dict[OutputName, bytes] = {
        "predictions": data if data is not None else text.encode(),
        "summary": summary.encode(),
        "stats": WindowStats().model_dump_json().encode(),
    }
    return done(folder, files)


def done(folder: Path, files: Mapping[OutputName, bytes]) -> Done:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return Done(hello(), {name: folder / name for name in files})


def test_answers_go_by_the_names_that_images_have_here(tmp_path: Path) -> None:
    run = read_run(answered(tmp_path, rows()), IMAGES)
    assert [result.image for result in run.results] == [str(image) for image in IMAGES]
    assert run.summary == {"fps": 3.5, "worker": "gpu-1"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (rows()[:1], "answer 1 of 2 is missing"),
        (rows() * 2, "more than 2 answers"),
        (rows()[::-1], "not of its image"),
        (rows(image="/etc/passwd"), "not of its image"),
        (rows(detections=[{**BOX, "confidence": 2}]), "less than or equal to 1"),
        (rows(detections=[BOX] * 10_001), "10001 detections"),
        (rows(latency_ms=-1), "latency_ms"),
        (b'{"image": "' + b"x" * 2_000_000, "missing or too long"),
        (b"\xff\xfe\n\n", "Invalid JSON|invalid"),
        (b"", "answer 0 of 2"),
    ],
)
def test_answers_that_are_not_what_was_asked_for(
    tmp_path: Path, lines: Sequence[Any] | bytes, said: str
) -> None:
    with pytest.raises(ChildFailed, match=said):
        read_run(answered(tmp_path, lines), IMAGES)


@pytest.mark.parametrize(
    "summary", ["[]", "", '{"fps": NaN}', '{"fps": 1e999}', json.dumps(dict.fromkeys(range(99)))]
)
def test_a_summary_that_no_table_takes(tmp_path: Path, summary: str) -> None:
    with pytest.raises(ChildFailed, match="cannot be read"):
        read_run(answered(tmp_path, rows(), summary), IMAGES)


def test_statistics_that_are_none(tmp_path: Path) -> None:
    found = answered(tmp_path, rows())
    found.outputs["stats"].write_text('{"frames_captured": -1}')
    with pytest.raises(ChildFailed, match="frames_captured"):
        read_run(found, IMAGES)


def planned(folder: Path, engine: bytes = b"plan!", **changes: Any) -> Done:
    summary = json.dumps({**PLAN, **changes}).encode()
    return done(folder, {"engine": engine, "summary": summary})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compute_capability": "8.9"}, r"is for \('8.9', '10.3.0'\), its machine has"),
        ({"tensorrt_version": "10.4.0"}, "its machine has"),
        ({"precision": "fp32"}, "not what was asked for"),
        ({"batch": 2}, "not what was asked for"),
        ({"engine": b""}, "the engine is empty"),
        ({"gpu_name": None}, "its summary cannot be read"),
        ({"build_s": -1}, "its summary cannot be read"),
    ],
)
def test_plans_that_are_not_what_was_asked_for(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    ordered = plan_task(tmp_path / "task")
    assert isinstance(ordered.order, PlanOrder)
    read_plan(planned(tmp_path), ordered.identity, ordered.order)
    with pytest.raises(ChildFailed, match=said):
        read_plan(planned(tmp_path, **changes), ordered.identity, ordered.order)


class Bench:
    """A remote maker whose children write files, and a desk that answers each plan."""

    def __init__(self, folder: Path, desk: Desk) -> None:
        self.folder, self.desk = folder, desk
        self.orders: list[dict[str, Any]] = []
        self.told: list[tuple[str, float, float]] = []
        self.base = Base(folder / "base.onnx", 17, facts={"torch": "2"})
        self.base.onnx.write_bytes(b"fp32")
        made = Maker(folder / "made", self._child, lambda *said: self.told.append(said))
        maker, _ = through(desk, made, ShippedRunner())
        assert isinstance(maker, RemoteMaker)
        self.maker = maker

    def _child(self, command: Sequence[str], _: Mapping[str, str], __: Callable[[], None]) -> None:
        place = Path(command[-1])
        order = json.loads((place / "order.json").read_text())
        self.orders.append(order)
        (place / "model.onnx").write_bytes(order["make"].encode())
        result = {"files": {"model.onnx": "model.onnx"}, "opset": 17, "notes": {"rungs": 1}}
        result["ranking"] = order["ranking"] or [[["/model.1"], 0.5]]
        (place / "result.json").write_text(json.dumps(result))

    def derived(self, name: str) -> Artifact:
        return self.maker.derived(parse(f"{name}@64", 64), self.base, [], 0)

    def answer_plans(self) -> list[tuple[PlanOrder, bytes]]:
        """A worker in a thread; what it was asked for, with the file's bytes."""
        asked: list[tuple[PlanOrder, bytes]] = []

        def work() -> None:
            while not asked:
                task, _ = self.desk.claim(hello())
                if task is None:
                    threading.Event().wait(0.01)
                    continue
                order = task.order
                assert isinstance(order, PlanOrder)
                onnx = self.desk.file(task.id, task.lease, order.onnx).read_bytes()
                said = {
                    **PLAN,
                    "precision": order.precision.value,
                    "file_precision": order.file_precision.value,
                }
                self.desk.renew(task.id, task.lease, TaskProgress(done=3, total=4))
                threading.Event().wait(0.1)
                outputs: dict[OutputName, bytes] = {
                    "engine": b"plan of " + onnx,
                    "summary": json.dumps(said).encode(),
                }
                for name, data in outputs.items():
                    partial, _ = self.desk.place(task.id, task.lease, name)
                    partial.write_bytes(data)
                    self.desk.keep(task.id, task.lease, name, partial)
                asked.append((order, onnx))
                self.desk.finish(task.id, task.lease)

        threading.Thread(target=work, daemon=True).start()
        return asked


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(worker_desk, "POLL_S", 0.01)
    yield Bench(tmp_path, Desk(worker_desk.Patience(wait_s=DEADLINE_S)))


@pytest.mark.parametrize("name", ["onnx-cuda-fp32", "onnx-tensorrt-fp16", "onnx-tensorrt-fp32"])
def test_targets_that_compute_the_base_as_it_is(bench: Bench, name: str) -> None:
    artifact = bench.derived(name)
    assert artifact.files == {"model.onnx": bench.base.onnx}
    assert (artifact.opset, artifact.notes, bench.orders) == (17, {"torch": "2"}, [])


def test_cuda_in_half_takes_the_hubs_own_file_in_half(bench: Bench) -> None:
    artifact = bench.derived("onnx-cuda-fp16")
    assert artifact.files["model.onnx"].read_bytes() == b"onnx-fp16"
    assert [order["make"] for order in bench.orders] == ["onnx-fp16"]


def test_what_is_on_the_cpu_is_made_as_ever(bench: Bench) -> None:
    assert bench.derived("openvino-bf16").files["model.onnx"].read_bytes() == b"openvino-bf16"


def test_a_ranking_goes_from_one_child_to_the_next(bench: Bench) -> None:
    target = parse("onnx-int8@64", 64)
    first = bench.maker.derived(target, bench.base, [], 1)
    second = bench.maker.derived(target, bench.base, [], 2, first.ranking)
    assert [order["ranking"] for order in bench.orders] == [None, [[["/model.1"], 0.5]]]
    assert second.ranking == first.ranking
    assert "ranking" not in second.notes, "it is long, and only for the next child"


@pytest.mark.parametrize(
    ("name", "onnx", "file"),
    [("tensorrt-fp16", b"onnx-fp16", "fp16"), ("tensorrt-fp32", b"fp32", "fp32"),
     ("tensorrt-bf16", b"fp32", "fp32")],
)  # fmt: skip
def test_a_plan_is_bound_to_the_machine_that_built_it(
    bench: Bench, name: str, onnx: bytes, file: str
) -> None:
    asked = bench.answer_plans()
    artifact = bench.derived(name)
    assert artifact.files["model.engine"].read_bytes() == b"plan of " + onnx
    ((order, given),) = asked
    assert (given, order.file_precision) == (onnx, Precision(file))
    assert order.precision.value == name.removeprefix("tensorrt-")
    assert artifact.bound == {"compute_capability": "8.7", "tensorrt_version": "10.3.0"}
    assert artifact.notes["worker"] == "gpu-1"
    assert (f"building {name}-64x64", 3, 4) in bench.told
    assert artifact.notes["build_s"] == 61.5
    assert artifact.opset is None


def test_several_targets_of_a_job_have_folders_of_their_own(bench: Bench) -> None:
    bench.answer_plans()
    bench.derived("tensorrt-fp16")
    assert bench.derived("onnx-cuda-fp16").rungs == 1


def test_without_a_desk_a_plan_is_refused(bench: Bench) -> None:
    maker = RemoteMaker(bench.folder / "none", bench.maker.run_child)
    with pytest.raises(InvalidError, match="needs a GPU"):
        maker.derived(parse("tensorrt-fp32@64", 64), bench.base, [], 0)


def test_a_stage_tells_of_waiting_only_after_a_while() -> None:
    told: list[str] = []

    def tell(stage: str, done: float, total: float) -> None:
        assert done == total == 0
        told.append(stage)

    say = saying(tell)
    for _ in range(3):
        say(Status(None))
    say(Status("gpu-1"))
    assert told == []
    for _ in range(40):
        say(Status(None))
    say(Status("gpu-1", 1, 2))
    say(Status("gpu-1", 2, 2))
    assert set(told[:-1]) == {"waiting for a GPU worker"}
    assert told[-1] == "on gpu-1"


def test_a_stage_tells_at_once_that_nobody_can_take_its_task() -> None:
    told: list[str] = []
    say = saying(lambda stage, _done, _total: told.append(stage))
    say(Status(None, lack="no GPU worker has been heard of"))
    say(Status(None, lack="no GPU worker has been heard of"))
    say(Status("gpu-1"))
    assert told == ["no GPU worker has been heard of"] * 2 + ["on gpu-1"]
