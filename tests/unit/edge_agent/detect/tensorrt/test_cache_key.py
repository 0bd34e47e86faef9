from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_agent.detect.tensorrt.cache_key import Machine, engine_key, timing_cache_key
from edge_agent.detect.tensorrt.profile import batch_profile
from protocol.builds import Precision

ORIN = Machine("Orin", "8.7", "10.3.0", "540.4.0")
BASE: dict[str, Any] = {
    "machine": ORIN,
    "onnx_sha256": "ab" * 32,
    "precision": Precision.FP16,
    "batch": 4,
    "profile": batch_profile("images", (-1, 3, 640, 640), 4),
}
OTHERS: list[dict[str, Any]] = [
    {"machine": replace(ORIN, gpu_name="Orin Nano")},
    {"machine": replace(ORIN, compute_capability="8.9")},
    {"machine": replace(ORIN, tensorrt_version="10.3.1")},
    {"machine": replace(ORIN, driver_version="540.5.0")},
    {"onnx_sha256": "ac" * 32},
    {"precision": Precision.FP32},
    {"batch": 8},
    {"profile": None},
    {"profile": batch_profile("images", (-1, 3, 640, 320), 4)},
    {"profile": batch_profile("image", (-1, 3, 640, 640), 4)},
]

KEY = "447551c16b591ed43364fdb57d76d0a97b132999a15e3a51b6f6f2ea300978e3"
TIMINGS = "65feac036f1fcd7c635d022776378800f1ea1433a3b398772de00d654f13f08e"


def test_whatever_a_plan_depends_on_changes_its_key() -> None:
    keys = [engine_key(**{**BASE, **other}) for other in ({}, *OTHERS)]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 for key in keys)


def test_a_key_stays_the_same_between_releases() -> None:
    """Another value here means that every cached plan is built again."""
    assert engine_key(**BASE) == KEY
    assert timing_cache_key(ORIN) == TIMINGS


@pytest.mark.parametrize("part", OTHERS[:4])
def test_timings_belong_to_the_machine(part: dict[str, Any]) -> None:
    assert timing_cache_key(part["machine"]) != timing_cache_key(ORIN)
