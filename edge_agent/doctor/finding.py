"""What a check says, and what it may look at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from edge_agent.config import AgentConfig


class Verdict(str, Enum):
    """How bad it is: a PROBLEM keeps the agent from its work, ADVICE makes it better."""

    OK = "ok"
    ADVICE = "advice"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        text: what was seen.
        remedy: what to do about it; empty where nothing is to do.
    """

    verdict: Verdict
    text: str
    remedy: str = ""


def ok(text: str) -> Finding:
    return Finding(Verdict.OK, text)


def advice(text: str, remedy: str) -> Finding:
    return Finding(Verdict.ADVICE, text, remedy)


def problem(text: str, remedy: str) -> Finding:
    return Finding(Verdict.PROBLEM, text, remedy)


@dataclass(frozen=True)
class Box:
    """What is examined.

    Attributes:
        config: None where it cannot be read; `config_error` then says why.
        live: what a running agent says of itself; None where none answers. What it holds
            (cameras, the broker's session, the port) is asked of it and not opened twice.
    """

    config_path: Path
    config: AgentConfig | None = None
    config_error: str = ""
    live: dict[str, Any] | None = None
