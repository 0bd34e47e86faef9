"""Table of jobs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel


class Job(SQLModel, table=True):
    """One piece of long work.

    Attributes:
        subject: what it is about, as a path: `model/boards/3`.
        attempt: of those that were begun; at most `attempts_max` are begun by the hub itself.
        not_before: a retry waits until then.
        progress: {"stage", "done", "total", "elapsed_s", "remaining_s"} and what else the
            handler says, coalesced.
        result: what the handler answered.
        log: the end of what was logged, kept once the job's folder is gone.
    """

    __tablename__ = "job"

    id: str = Field(primary_key=True)
    kind: str = Field(index=True)
    subject: str = Field(index=True)
    parameters: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    state: str = Field(index=True)
    attempt: int = 0
    attempts_max: int = 2
    not_before: float = 0.0
    cancel_requested: bool = False
    progress: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    error: str | None = None
    log: str = ""
    created_at: float = Field(index=True)
    created_by: str
    started_at: float | None = None
    ended_at: float | None = None
