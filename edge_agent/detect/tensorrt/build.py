"""From an ONNX model to a plan for this machine.

A build takes minutes and all of a GPU, so it belongs in a child process of low priority;
nothing here needs the detector or the agent. The same file gives other plans on other
machines: `cache_key` names what they depend on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from edge_agent.detect.tensorrt.cuda import Cuda, load_runtime
from edge_agent.detect.tensorrt.engine_file import EngineMetadata
from edge_agent.detect.tensorrt.errors import EngineBuildError
from edge_agent.detect.tensorrt.library import Reasons, load_tensorrt, logger
from edge_agent.detect.tensorrt.profile import batch_profile
from edge_agent.detect.tensorrt.progress import ProgressShare
from edge_agent.detect.tensorrt.versions import Recipe, Version, recipe
from protocol.builds import Precision

WORKSPACE_BYTES = 1024**3
PARSER_ERRORS_MAX = 4

Progress = Callable[[float], bool]
"""Told the share done, 0 to 1, from the builder's threads; False ends the build."""


@dataclass(frozen=True)
class BuildOrder:
    """What to build.

    Attributes:
        file_precision: of the ONNX file.
        precision: that the plan computes in.
        batch: frames at once, at most; it is tuned for so many.
        workspace_bytes: GPU memory that a layer may use for its work, at most.
        class_names: for the engine's header; it does not change the plan.
    """

    file_precision: Precision
    precision: Precision
    batch: int = 1
    workspace_bytes: int = WORKSPACE_BYTES
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuiltEngine:
    """A plan, what it is, and the timings that make the next build of this machine faster."""

    plan: bytes
    metadata: EngineMetadata
    timing_cache: bytes


def build_engine(
    onnx: bytes, order: BuildOrder, *, timing_cache: bytes = b"", progress: Progress | None = None
) -> BuiltEngine:
    """Build the plan of the model `onnx` (its file's bytes, weights within).

    Args:
        timing_cache: of an earlier build under the same `timing_cache_key`, or none; one of
            another machine is dropped.

    Raises:
        EngineBuildError: the model or the order is not possible here, or `progress` ended it.
        DetectorError: TensorRT or a GPU is missing.
    """
    trt = load_tensorrt()
    how = recipe(Version.parse(str(trt.__version__)), order.file_precision, order.precision)
    Cuda(load_runtime()).close()  # says in CUDA's words what is missing, where TensorRT has none
    build = _Build(trt, order, how)
    network = build.network(onnx)
    config = build.config(network, timing_cache)
    with _Watch(trt, progress) as watch:
        config.progress_monitor = watch.monitor
        serialised = build.builder.build_serialized_network(network, config)
    if serialised is None:
        raise build.failure("did not build the model" if watch.wanted else "was stopped")
    given = network.get_input(0)
    metadata = EngineMetadata(
        task="detect",
        imgsz=(int(given.shape[2]), int(given.shape[3])),
        batch=order.batch,
        names=dict(enumerate(order.class_names)) or None,
        tensorrt_version=str(Version.parse(str(trt.__version__))),
        precision=order.precision,
    )
    timings = config.get_timing_cache()
    return BuiltEngine(bytes(serialised), metadata, bytes(timings.serialize()) if timings else b"")


class _Build:
    """The objects of one build, which must live until it is done."""

    def __init__(self, trt: Any, order: BuildOrder, how: Recipe) -> None:
        self._trt, self._order, self._how = trt, order, how
        self._reasons = Reasons()
        self._logger = logger(trt, self._reasons)
        try:
            self.builder = trt.Builder(self._logger)
        except TypeError as error:  # the bindings' answer where the library made none
            raise self.failure("does not start") from error

    def failure(self, what: str) -> EngineBuildError:
        return EngineBuildError(
            f"TensorRT {self._trt.__version__} {what}: {self._reasons}; "
            "keep the ONNX build on this device"
        )

    def network(self, onnx: bytes) -> Any:
        """The parsed model."""
        flags = self._trt.NetworkDefinitionCreationFlag
        network = self.builder.create_network(
            sum(1 << int(getattr(flags, name)) for name in self._how.network_flags)
        )
        self._parser = self._trt.OnnxParser(network, self._logger)
        if not self._parser.parse(onnx):
            count = min(self._parser.num_errors, PARSER_ERRORS_MAX)
            for error in map(self._parser.get_error, range(count)):
                self._reasons.add(f"{error.node_operator() or 'model'}: {error.desc()}")
            raise self.failure("does not read the model")
        if network.num_inputs != 1:
            raise self.failure(f"found {network.num_inputs} inputs where a detector has one")
        return network

    def config(self, network: Any, timing_cache: bytes) -> Any:
        """Flags, limits, profile and timings."""
        trt, config = self._trt, self.builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, self._order.workspace_bytes)
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.NONE
        for name in self._how.set_flags:
            config.set_flag(getattr(trt.BuilderFlag, name))
        for name in self._how.clear_flags:
            config.clear_flag(getattr(trt.BuilderFlag, name))
        given = network.get_input(0)
        shapes = batch_profile(given.name, tuple(given.shape), self._order.batch)
        if shapes is not None:
            profile = self.builder.create_optimization_profile()
            profile.set_shape(given.name, shapes.minimum, shapes.optimum, shapes.maximum)
            if config.add_optimization_profile(profile) < 0:
                raise self.failure(f"takes no batch of 1 to {self._order.batch}")
        cache = config.create_timing_cache(timing_cache)
        if cache is None or not config.set_timing_cache(cache, False):
            config.set_timing_cache(config.create_timing_cache(b""), False)
        return config


class _Watch:
    """Passes a build's progress on. An error of who is told ends the build and is raised
    after it: the builder's threads cannot carry it."""

    def __init__(self, trt: Any, progress: Progress | None) -> None:
        self._tell = progress or _go_on
        self._share, self._lock = ProgressShare(), Lock()
        self._error: BaseException | None = None
        self.wanted = True
        self.monitor = _monitor(trt, self)

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        if self._error is not None:
            raise self._error

    def start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._share.start(name, parent, steps)

    def step(self, name: str, step: int) -> bool:
        with self._lock:
            self._share.step(name, step)
            try:
                self.wanted = self.wanted and bool(self._tell(self._share.share))
            except BaseException as error:  # noqa: BLE001 - raised again by __exit__
                self._error, self.wanted = error, False
            return self.wanted

    def finish(self, name: str) -> None:
        with self._lock:
            self._share.finish(name)


def _go_on(_share: float) -> bool:
    return True


def _monitor(trt: Any, watch: _Watch) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watch.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return watch.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            watch.finish(phase_name)

    return Monitor()
