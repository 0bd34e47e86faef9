"""Evaluations in a model's archive: rows that nobody has checked, on the way in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlmodel import Session

from cloud.errors import InvalidError
from cloud.evaluation import queries
from cloud.evaluation.models import Evaluation
from cloud.registry import service as registry
from cloud.registry.models import Build
from protocol.chunks import Sha256

ROWS_MAX = 100_000


class ArchivedEvaluation(BaseModel):
    """An evaluation as an archive holds it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    build: Sha256
    kind: str = Field(pattern=r"^[a-z]{1,32}$")
    dataset_digest: str = Field(pattern=r"^([0-9a-f]{64})?$")
    images_sha256: Sha256
    images: int = Field(ge=0)
    metrics: dict[str, Any]
    predictions_sha256: Sha256 | None
    created_at: float


class EvaluationPart:
    """The evaluations of a model's builds, for `cloud.registry.archive`."""

    name = "evaluations"

    def export_rows(self, session: Session, model: str) -> list[dict[str, Any]]:
        builds = [b.digest for b in registry.all_builds(session) if b.model == model]
        return [row.model_dump(mode="json") for row in queries.of_builds(session, builds)]

    def import_rows(self, session: Session, rows: Sequence[dict[str, Any]]) -> None:
        """Raises InvalidError where a row is none, or is of a build that is not there."""
        if len(rows) > ROWS_MAX:
            raise InvalidError(f"the archive holds over {ROWS_MAX} evaluations", "export it again")
        for values in rows:
            row = _checked(values)
            if session.get(Build, row.build) is None:
                raise InvalidError(
                    f"the archive evaluates a build {row.build[:12]} that it does not hold",
                    "export it again",
                )
            if queries.newest(session, row.build, row.kind, row.images_sha256) is None:
                session.add(Evaluation(**row.model_dump()))
                session.flush()

    def blobs(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """The predictions' digests."""
        named = (row.get("predictions_sha256") for row in rows)
        return [str(digest) for digest in named if digest]


def _checked(values: dict[str, Any]) -> ArchivedEvaluation:
    try:
        return ArchivedEvaluation.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidError(
            f"an evaluation in the archive: {first['loc'][:1]}: {first['msg']}", "export it again"
        ) from error
