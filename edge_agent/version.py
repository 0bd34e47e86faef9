"""Which agent this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def agent_version() -> str:
    """The installed distribution's version, "unknown" when run from a bare folder."""
    try:
        return version("argosy")
    except PackageNotFoundError:
        return "unknown"
