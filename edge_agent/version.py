"""Which agent this is."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def agent_version() -> str:
    """The installed distribution's version; that of pyproject.toml when run from a checkout,
    and "unknown" where neither is there."""
    try:
        return version("argosy")
    except PackageNotFoundError:
        return _checked_out()


def _checked_out() -> str:
    try:
        project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
        return str(project["version"]) if project["name"] == "argosy" else "unknown"
    except (OSError, ValueError, KeyError):
        return "unknown"
