"""Check: what the agent needs is installed, and nothing that overwrites it.

onnxruntime and onnxruntime-gpu install into the same module, and so do OpenCV's four
distributions: with two of them, the one installed last wins, in part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import metadata

from edge_agent.doctor.finding import Box, Finding, ok, problem

NEEDED = ("httpx", "numpy", "paho-mqtt", "prometheus-client", "psutil", "pydantic", "structlog")
RIVALS = (
    ("onnxruntime", "onnxruntime-gpu"),
    (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
)


def check(_box: Box) -> Iterator[Finding]:
    names = {*NEEDED, *(name for group in RIVALS for name in group)}
    yield from judge({name: _version(name) for name in names})


def judge(versions: Mapping[str, str | None]) -> Iterator[Finding]:
    """`versions` by distribution, None where it is not installed."""
    missing = [name for name in NEEDED if versions.get(name) is None]
    if missing:
        yield problem(f"not installed: {', '.join(missing)}", "pip install 'argosy[edge]'")
    for group in RIVALS:
        there = [name for name in group if versions.get(name) is not None]
        if len(there) > 1:
            others = " ".join(there)
            yield problem(
                f"{' and '.join(there)} are installed into the same module",
                f"pip uninstall {others}; then install the one that you want",
            )
        elif not there and group[0] != "onnxruntime":
            yield problem("OpenCV is not installed", "pip install opencv-python")
    if not missing:
        yield ok("packages: " + ", ".join(f"{name} {versions[name]}" for name in NEEDED))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
