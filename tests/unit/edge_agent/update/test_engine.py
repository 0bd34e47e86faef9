"""Engines that the device builds itself: by a real child, on simulated CUDA and TensorRT."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import Limits
from edge_agent.detect.bundle import load_bundle
from edge_agent.detect.detector import detect
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.tensorrt import detector
from edge_agent.detect.tensorrt import probe as detector_probe
from edge_agent.detect.tensorrt.cache_key import Machine
from edge_agent.detect.tensorrt.derived import is_derived, key_of
from edge_agent.detect.tensorrt.engine_file import read_engine
from edge_agent.detect.tensorrt.errors import EngineBuildError, EngineMissingError
from edge_agent.detect.tensorrt.probe import Gpu, machine, runtime_capability
from edge_agent.store import Store
from edge_agent.update import engine
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.engine import EngineCache, Kept, build, needs_engine, to_evict
from protocol.builds import Capabilities, Format, Precision, match
from protocol.bundles import GOLDEN_PATH, MANIFEST_PATH, MODEL_PATH, Manifest, canonical, digest
from tests.fixtures.artifacts import INPUT_SIZE, manifest_for
from tests.unit.edge_agent.detect.tensorrt.stage import Stage, grey_model
from tests.unit.edge_agent.update.simulated_engine_child import (
    HANGING,
    ONNX,
    UNBUILDABLE,
    VERSION,
)

ORIN = Gpu("Orin", "8.7", "540.4.0", VERSION)
HERE = machine(ORIN)


def bundle(folder: Path, onnx: bytes = ONNX, version: int = 1) -> Manifest:
    files = {MODEL_PATH: onnx, GOLDEN_PATH: b"{}"}
    made = manifest_for(
        files,
        format=Format.ONNX,
        runtime="tensorrt",
        precision=Precision.FP32,
        runtime_precision=Precision.FP16,
        batch=4,
    ).model_copy(update={"version": version})
    for path, data in {**files, MANIFEST_PATH: canonical(made)}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return made


class Bench:
    """A cache, and builds into it by the simulated child."""

    def __init__(self, folder: Path, bytes_max: int = 10_000) -> None:
        self.folder = folder
        self.cache = EngineCache(folder / "engines", bytes_max)
        self.cancel = threading.Event()
        self.told: list[float] = []

    def build(self, onnx: bytes = ONNX, timeout_s: float = 60.0) -> Path:
        limits = Limits(engine_timeout_s=timeout_s)
        made = bundle(self.folder / "b", onnx)
        told = self.told.append
        return build(self.folder / "b", made, self.cache, limits, self.cancel, on_progress=told)

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.cache.folder.iterdir())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(engine, "MODULE", "tests.unit.edge_agent.update.simulated_engine_child")
    monkeypatch.setattr(engine, "probe", lambda: ORIN)
    return Bench(tmp_path)


def test_onnx_for_tensorrt_fits_where_tensorrt_is_and_asks_for_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_probe, "find_spec", lambda _name: object())
    native = runtime_capability(ORIN)
    assert native is not None
    here = Capabilities(architecture="aarch64", runtimes=(native,))
    nowhere = Capabilities(architecture="x86_64", runtimes=())
    made = bundle(tmp_path)
    assert match(made.build, here).fits and needs_engine(made, here)
    assert not match(made.build, nowhere).fits and not needs_engine(made, nowhere)
    for other in ({"runtime": "onnxruntime"}, {"format": Format.TENSORRT}):
        ready = made.model_copy(update={"build": made.build.model_copy(update=other)})
        assert not needs_engine(ready, here)


def test_a_build_tells_how_far_it_is_and_is_found_again(bench: Bench) -> None:
    path = bench.build()
    assert bytes(read_engine(path).plan) == b"plan of an onnx file"
    assert bench.told[0] < 0.5 and bench.told[-1] == 1.0 and bench.told == sorted(bench.told)
    assert len(bench.left) == 2 and bench.left[1].startswith("timings-")
    bench.told.clear()
    assert bench.build() == path and bench.told == []


def test_a_damaged_engine_is_none_and_is_built_again(bench: Bench) -> None:
    path = bench.build()
    path.write_bytes(b"rotten")
    assert bench.cache.find(key_of(bundle(bench.folder / "b"), HERE)) is None
    assert bench.build().read_bytes() != b"rotten"


def test_what_cannot_be_built_is_refused_in_words_and_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(EngineBuildError, match="Could not find any implementation"):
        bench.build(UNBUILDABLE)
    assert bench.left == []


def test_a_build_that_hangs_or_is_cancelled_ends(bench: Bench) -> None:
    with pytest.raises(EngineBuildError, match="took longer than 3 s"):
        bench.build(HANGING, timeout_s=3)
    bench.cancel.set()
    with pytest.raises(EngineBuildError, match="was cancelled"):
        bench.build(HANGING)
    assert bench.left == []


def test_what_a_kill_left_of_a_build_goes_with_the_next(bench: Bench) -> None:
    bench.cache.prepare()
    (bench.cache.folder / ".building-x.tmp").write_bytes(b"half")
    bench.build()
    assert not [name for name in bench.left if name.startswith(".")]


def test_what_a_kill_left_of_a_build_goes_with_a_start(tmp_path: Path) -> None:
    store = Store(tmp_path)
    left = BundleStore(store.bundles, store.compiled).engines / ".building-x.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    store.open()
    store.close()
    assert not left.exists()


def test_the_engine_is_what_a_bundle_runs_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bench.folder / "b"
    made = bundle(folder)
    assert is_derived(made)
    stage = Stage(bench.folder, monkeypatch, VERSION)
    stage.trt.models[b"plan of an onnx file"] = grey_model()
    monkeypatch.setattr(detector, "probe", lambda: ORIN)
    options = LoadOptions(engines=bench.cache.folder)
    with pytest.raises(EngineMissingError, match="was built for TensorRT"):
        load_bundle(folder, digest(made), options)
    with pytest.raises(EngineMissingError):
        load_bundle(folder, digest(made), LoadOptions())
    bench.build()
    loaded = load_bundle(folder, digest(made), options)
    found = detect(loaded.detector, np.full((INPUT_SIZE, INPUT_SIZE, 3), 204, np.uint8))
    assert found.confidences == pytest.approx([0.8], abs=0.01)
    loaded.detector.close()
    monkeypatch.setattr(detector, "probe", lambda: replace(ORIN, driver_version="541"))
    with pytest.raises(EngineMissingError):
        load_bundle(folder, digest(made), options)


@pytest.mark.parametrize(
    "other",
    [
        Machine("Thor", "8.7", VERSION, "540.4.0"),
        Machine("Orin", "8.9", VERSION, "540.4.0"),
        Machine("Orin", "8.7", "10.4.0", "540.4.0"),
        Machine("Orin", "8.7", VERSION, "541"),
    ],
)
def test_another_machine_needs_another_engine(other: Machine, tmp_path: Path) -> None:
    made = bundle(tmp_path)
    build = made.build.model_copy(update={"runtime_precision": Precision.FP32})
    keys = {key_of(made, HERE), key_of(made.model_copy(update={"build": build}), HERE)}
    assert len(keys | {key_of(made, other)}) == 3
    assert key_of(bundle(tmp_path, version=2), HERE) == key_of(made, HERE)


def test_the_least_recently_used_go_first_and_pinned_ones_stay(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines", bytes_max=250)
    cache.prepare()
    keys = [f"{number:064x}" for number in range(4)]
    for age, key in enumerate(keys):
        made = tmp_path / "made"
        made.write_bytes(bytes([age]) * 100)
        kept = cache.keep(key, made, {keys[0]})
        os.utime(kept, (1000 + age, 1000 + age))
    assert [cache.find(key) is not None for key in keys] == [True, False, False, True]


@given(
    sizes=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 5), st.booleans()), max_size=20),
    bytes_max=st.integers(0, 500),
)
def test_eviction_goes_as_far_as_it_must_and_no_further(
    sizes: list[tuple[int, int, bool]], bytes_max: int
) -> None:
    kept = [Kept(f"{n:02}", size, used) for n, (size, used, _) in enumerate(sizes)]
    pinned = {f"{n:02}" for n, (_, _, stays) in enumerate(sizes) if stays}
    gone = to_evict(kept, bytes_max, pinned)
    by_name = {file.name: file for file in kept}
    left = sum(f.size_bytes for f in kept if f.name not in gone)
    assert not pinned & set(gone)
    assert left <= bytes_max or set(gone) | pinned == set(by_name)
    if gone:
        assert left + by_name[gone[-1]].size_bytes > bytes_max
        last = by_name[gone[-1]].used_ns
        assert all(f.used_ns >= last for f in kept if f.name not in {*gone, *pinned})
