"""The engine's child on simulated CUDA and TensorRT, which know one model and one bad one."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pytest

from edge_agent.update import engine
from tests.unit.edge_agent.detect.tensorrt.stage import Stage, grey_model

ONNX, HANGING, UNBUILDABLE = b"an onnx file", b"one that hangs", b"one that no kernel fits"
VERSION = "10.3.0"


def main() -> None:
    stage = Stage(Path(tempfile.gettempdir()), pytest.MonkeyPatch(), VERSION)
    stage.trt.models[ONNX] = grey_model(steps=[("build", None, 4)])
    stage.trt.models[UNBUILDABLE] = grey_model(runs=False)
    sys.stdout.write("a library says hello\n")
    sys.stdout.flush()
    if Path(sys.argv[1]).read_bytes() == HANGING:
        time.sleep(60)
    engine.main()


if __name__ == "__main__":
    main()
