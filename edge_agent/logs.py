"""How the agent logs: for people on a terminal, or one JSON object a line."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog

# Of a URL with user and password, wherever an error's text or a traceback carries one.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@'\"]+@")


def set_up_logs(*, json_lines: bool, verbose: bool, device: str | None = None) -> None:
    """Send every log to stderr, each with the device's id where that is known.

    User and password of URLs are left out. Call first thing in a process, and again when
    more is known.
    """
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if device is not None:
        processors.append(lambda _logger, _method, event: {"device": device, **event})
    if json_lines:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    processors.append(lambda _logger, _method, line: _CREDENTIALS.sub("", line))
    level = logging.DEBUG if verbose else logging.INFO
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
