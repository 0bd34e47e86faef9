"""Which code, with which libraries, on what kind of machine: the half of a lineage that is ours."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxslim", "opencv-python", "openvino", "nncf",
            "torch", "torchvision", "ultralytics")  # fmt: skip
GIT_TIMEOUT_S = 5.0


def code() -> dict[str, str | None]:
    """The version of this distribution, and the commit where it runs from a checkout."""
    try:
        version = importlib.metadata.version("argosy")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return {"version": version, "commit": commit()}


@functools.cache
def commit() -> str | None:
    """The checkout's commit, with `+changes` where files differ from it; None elsewhere."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changed else head


def environment() -> dict[str, str]:
    """Python, processor architecture and the versions of the libraries that make a model."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git(root: Path, *arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        timeout=GIT_TIMEOUT_S,
        check=True,
    )
    return answer.stdout.strip()
