"""API shapes of evaluation."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from cloud.evaluation.models import Evaluation


class EvaluationView(BaseModel):
    """`predictions_sha256` names a blob: what was seen, JSON lines under gzip."""

    id: str
    build: str
    kind: str
    dataset_digest: str
    images_sha256: str
    images: int
    metrics: dict[str, Any]
    predictions_sha256: str | None
    created_at: float

    @classmethod
    def of(cls, row: Evaluation) -> EvaluationView:
        return cls(**row.model_dump())
