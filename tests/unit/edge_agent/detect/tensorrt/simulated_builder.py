"""The half of the simulated TensorRT that builds."""

from __future__ import annotations

from typing import Any

from tests.unit.edge_agent.detect.tensorrt.simulated_tensorrt import (
    Member,
    Model,
    SimulatedTensorRt,
)


class Builder:
    __slots__ = ("_logger", "_trt")

    def __init__(self, trt: SimulatedTensorRt, logger: Any) -> None:
        self._trt, self._logger = trt, logger

    def create_network(self, flags: int = 0) -> NetworkDefinition:
        self._trt.seen["network_flags"] = flags
        return NetworkDefinition()

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig(self._trt)

    def create_optimization_profile(self) -> OptimizationProfile:
        return OptimizationProfile()

    def build_serialized_network(
        self, network: NetworkDefinition, config: BuilderConfig
    ) -> bytes | None:
        monitor = config.progress_monitor
        for name, parent, steps in network.model.steps:
            monitor.phase_start(name, parent, steps)
            for step in range(steps):
                if not monitor.step_complete(name, step):
                    return None
        for name, _, _ in reversed(network.model.steps):
            monitor.phase_finish(name)
        if not network.model.runs:
            self._trt.error(self._logger, "Could not find any implementation for node Conv_0")
            return None
        return b"plan of " + network.onnx


class NetworkDefinition:
    __slots__ = ("model", "num_inputs", "onnx")
    model: Model
    num_inputs: int
    onnx: bytes

    def get_input(self, index: int) -> Tensor:
        tensor = [t for t in self.model.tensors if t.mode == "INPUT"][index]
        return Tensor(tensor.name, tensor.shape)


class Tensor:
    __slots__ = ("name", "shape")

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape


class OnnxParser:
    __slots__ = ("_network", "_trt", "num_errors")

    def __init__(self, trt: SimulatedTensorRt, network: NetworkDefinition) -> None:
        self._trt, self._network, self.num_errors = trt, network, 0

    def parse(self, model: bytes) -> bool:
        found = self._trt.models.get(model)
        if found is None:
            self.num_errors = 9
            return False
        self._network.model, self._network.onnx = found, model
        self._network.num_inputs = sum(t.mode == "INPUT" for t in found.tensors)
        return True

    def get_error(self, index: int) -> ParserError:
        return ParserError(index)


class ParserError:
    __slots__ = ("_index",)

    def __init__(self, index: int) -> None:
        self._index = index

    def desc(self) -> str:
        return f"no importer for operation {self._index}"

    def node_operator(self) -> str:
        return "Strange"


class OptimizationProfile:
    __slots__ = ("_shapes",)

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._shapes = (input, min, opt, max)


class BuilderConfig:
    __slots__ = ("_caches", "_trt", "hardware_compatibility_level", "progress_monitor")
    hardware_compatibility_level: Any
    progress_monitor: Any

    def __init__(self, trt: SimulatedTensorRt) -> None:
        self._trt = trt
        self._caches: list[TimingCache] = []
        trt.seen.update(flags={"TF32"}, profile=None)

    def set_flag(self, flag: Member) -> None:
        self._trt.seen["flags"].add(flag.name)

    def clear_flag(self, flag: Member) -> None:
        self._trt.seen["flags"].discard(flag.name)

    def set_memory_pool_limit(self, pool: Member, pool_size: int) -> None:
        self._trt.seen[pool.name] = pool_size

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        self._trt.seen["profile"] = profile._shapes
        return 0

    def create_timing_cache(self, serialized: bytes) -> TimingCache | None:
        return None if serialized == b"broken" else TimingCache(serialized)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache._timings == b"of another machine":
            return False
        self._caches.append(cache)
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self._caches[-1] if self._caches else None


class TimingCache:
    __slots__ = ("_timings",)

    def __init__(self, timings: bytes) -> None:
        self._timings = timings

    def serialize(self) -> bytes:
        return self._timings + b"+new"
