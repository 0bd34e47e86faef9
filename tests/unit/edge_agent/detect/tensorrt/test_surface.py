"""The simulation has no name that the real bindings lack, in any version.

`surfaces.json` was read from the wheels of the bindings. The code under test runs on the
simulation, so a name that it invents fails here or there.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.detect import tensorrt
from tests.unit.edge_agent.detect.tensorrt import simulated_builder, simulated_tensorrt
from tests.unit.edge_agent.detect.tensorrt.simulated_tensorrt import SURFACES

CLASSES: dict[str, type] = {
    "Runtime": simulated_tensorrt.Runtime,
    "ICudaEngine": simulated_tensorrt.CudaEngine,
    "IExecutionContext": simulated_tensorrt.ExecutionContext,
    "ILogger": simulated_tensorrt.Logger,
    "Builder": simulated_builder.Builder,
    "IBuilderConfig": simulated_builder.BuilderConfig,
    "IOptimizationProfile": simulated_builder.OptimizationProfile,
    "ITensor": simulated_builder.Tensor,
    "INetworkDefinition": simulated_builder.NetworkDefinition,
    "OnnxParser": simulated_builder.OnnxParser,
    "ParserError": simulated_builder.ParserError,
    "ITimingCache": simulated_builder.TimingCache,
}
OWN_NAMES = {"INetworkDefinition": {"model", "onnx"}}
MODULES = sorted(Path(str(tensorrt.__file__)).parent.glob("*.py"))


@pytest.mark.parametrize("version", SURFACES)
@pytest.mark.parametrize("name", CLASSES)
def test_the_simulation_invents_no_name(version: str, name: str) -> None:
    names = {n for n in vars(CLASSES[name]) if not n.startswith("_")}
    assert names - OWN_NAMES.get(name, set()) <= set(SURFACES[version][name])


@pytest.mark.parametrize("version", SURFACES)
def test_the_monitor_overrides_what_tensorrt_calls(version: str) -> None:
    called = set(SURFACES[version]["IProgressMonitor"])
    source = next(p for p in MODULES if p.name == "build.py").read_text()
    defined = {n.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)}
    assert called <= defined


def test_importing_loads_neither_tensorrt_nor_cuda() -> None:
    names = [f"{tensorrt.__name__}.{p.stem}" for p in MODULES if p.stem != "__init__"]
    code = (
        f"import sys, {', '.join(names)}\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('tensorrt', 'cuda', 'pynvml')])"
    )
    root = Path(__file__).resolve().parents[5]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
