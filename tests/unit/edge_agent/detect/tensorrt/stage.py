"""A stage for tests: the simulated libraries in place of the real ones, and a bundle."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_agent.detect.detector import Detector
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.tensorrt.bindings import TensorSpec
from edge_agent.detect.tensorrt.detector import ENGINE_PATH, open_tensorrt
from edge_agent.detect.tensorrt.engine_file import EngineMetadata, join_engine
from protocol.builds import Format
from protocol.bundles import GOLDEN_PATH, Manifest
from tests.fixtures.artifacts import INPUT_SIZE, manifest_for
from tests.unit.edge_agent.detect.tensorrt.simulated_cuda import SimulatedCuda
from tests.unit.edge_agent.detect.tensorrt.simulated_tensorrt import (
    NEWEST,
    Model,
    SimulatedTensorRt,
)

PLAN = b"a plan"
IMAGES = TensorSpec("images", (-1, 3, INPUT_SIZE, INPUT_SIZE), "FLOAT", "INPUT")
ROWS = TensorSpec("output0", (-1, 300, 6), "FLOAT", "OUTPUT")
BOX = (8.0, 8.0, 40.0, 40.0)


def grey_model(**changes: Any) -> Model:
    """A model that finds one box in each image, as sure of it as the image is bright."""
    return Model(**{"tensors": [IMAGES, ROWS], "compute": brightness_of, **changes})


def static_model(batch: int, **changes: Any) -> Model:
    tensors = [replace(t, shape=(batch, *t.shape[1:])) for t in (IMAGES, ROWS)]
    return grey_model(tensors=tensors, **changes)


def brightness_of(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    found = np.zeros((len(images), 300, 6), np.float32)
    found[:, 0, :4] = BOX
    found[:, 0, 4] = images.mean(axis=(1, 2, 3))
    return found


def grey(level: int) -> npt.NDArray[np.uint8]:
    return np.full((INPUT_SIZE, INPUT_SIZE, 3), level, np.uint8)


class Stage:
    """Simulated CUDA and TensorRT, importable under their real names, and a bundle's folder."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, version: str = NEWEST) -> None:
        self.folder, self.cuda = folder, SimulatedCuda()
        self.trt = SimulatedTensorRt(version, self.cuda)
        self.trt.models[PLAN] = grey_model()
        cuda, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
        bindings.runtime = self.cuda  # type: ignore[attr-defined]
        for name, module in {
            "cuda": cuda,
            "cuda.bindings": bindings,
            "cuda.bindings.runtime": self.cuda,
            "tensorrt": self.trt,
        }.items():
            patch.setitem(sys.modules, name, module)

    def open(
        self, metadata: EngineMetadata | None = None, *, batch: int = 4, **manifest: Any
    ) -> Detector:
        """Write the plan into the folder and open it as a bundle of `batch`."""
        said = metadata or EngineMetadata()
        (self.folder / ENGINE_PATH).write_bytes(join_engine(said, PLAN))
        return open_tensorrt(self.folder, self.manifest(batch=batch, **manifest), LoadOptions())

    @staticmethod
    def manifest(**build: Any) -> Manifest:
        files = {ENGINE_PATH: b"plan", GOLDEN_PATH: b"{}"}
        return manifest_for(
            files, **{"format": Format.TENSORRT, "runtime": "tensorrt", "batch": 4, **build}
        )
