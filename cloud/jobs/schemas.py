"""API shapes of jobs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cloud.jobs.models import Job


class JobView(BaseModel):
    id: str
    kind: str
    subject: str
    parameters: dict[str, Any]
    state: str
    attempt: int
    attempts_max: int
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    created_at: float
    created_by: str
    started_at: float | None
    ended_at: float | None

    @classmethod
    def of(cls, job: Job) -> JobView:
        return cls(**job.model_dump(include=set(cls.model_fields)))
