"""The names of what is cached: everything that a plan or a timing depends on is in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import rfc8785

from edge_agent.detect.tensorrt.profile import BatchProfile
from protocol.builds import Precision
from protocol.chunks import Sha256, sha256_hex

KEY_VERSION = 1


@dataclass(frozen=True)
class Machine:
    """What a plan is bound to; another of any of these needs another plan.

    Attributes:
        compute_capability: as `8.7`.
        driver_version: as NVIDIA's driver names itself, or the CUDA version that it offers.
    """

    gpu_name: str
    compute_capability: str
    tensorrt_version: str
    driver_version: str


def engine_key(
    machine: Machine,
    onnx_sha256: Sha256,
    precision: Precision,
    batch: int,
    profile: BatchProfile | None,
) -> Sha256:
    """The key of the plan that `machine` builds of the ONNX file of that digest."""
    return _key(
        "engine",
        machine,
        onnx_sha256=onnx_sha256,
        precision=precision.value,
        batch=batch,
        profile=None if profile is None else asdict(profile),
    )


def timing_cache_key(machine: Machine) -> Sha256:
    """The key of the kernel timings of `machine`; they serve every model."""
    return _key("timings", machine)


def _key(kind: str, machine: Machine, **parts: Any) -> Sha256:
    named = {"kind": kind, "version": KEY_VERSION, "machine": asdict(machine), **parts}
    return sha256_hex(rfc8785.dumps(named))
