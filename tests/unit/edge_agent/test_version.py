"""The agent's version, installed or not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from edge_agent import version


def not_installed(name: str) -> str:
    raise PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[project]\nname = "argosy"\nversion = "1.2.3"\n', "1.2.3"),
        ('[project]\nname = "other"\nversion = "1.2.3"\n', "unknown"),
        ("[tool]\n", "unknown"),
        ("[", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_checkout_knows_its_version(
    text: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyproject = tmp_path / "pyproject.toml"
    if text is not None:
        pyproject.write_text(text)
    monkeypatch.setattr(version, "version", not_installed)
    monkeypatch.setattr(version, "PYPROJECT", pyproject)
    assert version.agent_version() == expected
