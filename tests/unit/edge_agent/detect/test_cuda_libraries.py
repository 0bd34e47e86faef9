"""CUDA libraries that pip put beside ONNX Runtime are loaded before a session asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from edge_agent.detect.onnx import open_session
from edge_agent.detect.providers import CPU, CUDA, Provider


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of a runtime that has the CUDA provider, in order."""
    asked: list[str] = []

    def session(_path: str, _options: object, providers: Sequence[Provider]) -> SimpleNamespace:
        asked.append("session")
        names = [name for name, _options in providers]
        return SimpleNamespace(get_providers=lambda: names, disable_fallback=lambda: None)

    (tmp_path / "model.onnx").write_bytes(b"")
    for name, stand_in in {
        "__file__": str(tmp_path / "site" / "onnxruntime" / "__init__.py"),
        "get_available_providers": lambda: [CUDA, CPU],
        "preload_dlls": lambda directory: asked.append(f"load {directory!r}"),
        "InferenceSession": session,
    }.items():
        monkeypatch.setattr(onnxruntime, name, stand_in, raising=False)
    return asked


@pytest.mark.parametrize(
    ("provider", "by_pip", "expected"),
    [
        (CUDA, True, ["load ''", "session"]),
        (CUDA, False, ["session"]),
        (CPU, True, ["session"]),
    ],
)
def test_they_are_loaded_first_where_pip_put_them(
    tmp_path: Path, done: list[str], provider: str, by_pip: bool, expected: list[str]
) -> None:
    if by_pip:
        (tmp_path / "site" / "nvidia").mkdir(parents=True)
    open_session(tmp_path / "model.onnx", 1, [(provider, {})])
    assert done == expected
