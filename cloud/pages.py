"""Pages for people: one file with everything in it, no script, no address outside of it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

# A page shows names and images that came from outside: it may run nothing and load nothing.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def environment(folder: Path) -> Environment:
    """What renders the templates of `folder`: all that they are given is escaped, `png` makes a
    picture's bytes an address, `figure` writes a number."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["png"] = lambda data: data_address("png", data)
    made.filters["figure"] = figure_text
    return made


def data_address(kind: str, data: bytes) -> str:
    """An image's bytes as the address of an `img`; `kind` is `png` or `jpeg`."""
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


def figure_text(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A figure as it is shown; what is not known is `-`."""
    if value is None:
        return "-"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
