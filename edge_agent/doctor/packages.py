"""Check: what the agent needs is installed, new enough, and nothing overwrites it.

onnxruntime and onnxruntime-gpu install into the same module, and so do OpenCV's four
distributions: with two of them, the one installed last wins, in part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata

from edge_agent.doctor.finding import Box, Finding, ok, problem

DISTRIBUTION = "argosy"
EXTRA = "edge-base"
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
    yield from judge_pins(too_old(_requirements()))


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
    if not missing:
        yield ok("packages: " + ", ".join(f"{name} {versions[name]}" for name in NEEDED))


def judge_pins(too_old: Sequence[tuple[str, str, str]]) -> Iterator[Finding]:
    """`too_old`: name, installed version and wanted range of each."""
    for name, version, wanted in too_old:
        yield problem(f"{name} {version} is not {wanted}", "pip install --upgrade 'argosy[edge]'")


def _requirements() -> list[str]:
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []


def too_old(requirements: Sequence[str]) -> list[tuple[str, str, str]]:
    """Of the agent's own requirements, those that another version is installed of."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return []
    found: list[tuple[str, str, str]] = []
    for requirement in map(Requirement, requirements):
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": EXTRA})
        version = _version(requirement.name) if applies else None
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            found.append((requirement.name, version, str(requirement.specifier)))
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
