"""Where the running agent's pages are: a line in the data folder, for the other commands."""

from __future__ import annotations

from pathlib import Path

import structlog

from edge_agent.store import write_atomically

FILE = "local-url"
URL_BYTES_MAX = 256

log = structlog.get_logger(__name__)


def write_address(data_dir: Path, url: str) -> None:
    """Keep the address; a disk that refuses costs only the convenience."""
    try:
        write_atomically(data_dir / FILE, f"{url}\n".encode())
    except OSError as error:
        log.warning("local_address_not_kept", error=str(error))


def read_address(data_dir: Path) -> str | None:
    """The address, or None. It may be that of an agent that was killed."""
    try:
        with (data_dir / FILE).open("rb") as file:
            return file.read(URL_BYTES_MAX).decode("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def forget_address(data_dir: Path) -> None:
    try:
        (data_dir / FILE).unlink(missing_ok=True)
    except OSError as error:
        log.warning("local_address_not_removed", error=str(error))
