"""Check: which builds this box can run, and which others an installation would add."""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.doctor.finding import Box, Finding, advice, ok, problem
from protocol.builds import Capabilities

EXTRAS = {
    "onnxruntime": "pip install 'argosy[edge]'",
    "openvino": "pip install 'argosy[edge-openvino]'",
}
GPU_EXTRAS = {
    "onnxruntime-cuda": "pip uninstall onnxruntime; pip install 'argosy[edge-cuda]'",
    "tensorrt": "pip install 'argosy[edge-tensorrt]' (on a Jetson, JetPack's python3-libnvinfer)",
}


def check(_box: Box) -> Iterator[Finding]:
    from edge_agent.observe.hardware import capabilities

    yield from judge(capabilities())


def judge(here: Capabilities) -> Iterator[Finding]:
    for runtime in here.runtimes:
        precisions = ", ".join(p.value for p in runtime.precisions)
        formats = ", ".join(f.value for f in runtime.formats)
        yield ok(f"{runtime.runtime} {runtime.version} runs {formats} in {precisions}")
    there = {runtime.runtime for runtime in here.runtimes}
    if not there:
        yield problem("no inference runtime is installed", EXTRAS["onnxruntime"])
    wanted = EXTRAS | (GPU_EXTRAS if here.compute_capability is not None else {})
    for name, remedy in wanted.items():
        if there and name not in there:
            yield advice(f"{name} is not installed", remedy)
    yield ok(f"processor: {', '.join(here.cpu_flags) or 'no flags of note'}")
