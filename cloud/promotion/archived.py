"""Evidence in a model's archive: rows that nobody has checked, on the way in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlmodel import Session

from cloud.errors import InvalidError
from cloud.promotion import queries
from cloud.promotion.models import Evidence
from cloud.registry.models import Build
from protocol.chunks import Sha256
from protocol.states import Verdict

ROWS_MAX = 100_000


class ArchivedEvidence(BaseModel):
    """An evidence row as an archive holds it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    model: str = Field(max_length=64)
    alias: str = Field(max_length=64)
    candidate: int = Field(ge=1)
    incumbent: int | None = Field(default=None, ge=1)
    candidate_build: Sha256
    incumbent_build: Sha256 | None = None
    verdict: Verdict
    record_sha256: Sha256
    page_sha256: Sha256
    job: str | None = Field(default=None, max_length=64)
    at: float
    by: str = Field(max_length=256)


class EvidencePart:
    """A model's evidence, for `cloud.registry.archive`."""

    name = "evidence"

    def export_rows(self, session: Session, model: str) -> list[dict[str, Any]]:
        found = queries.evidence_of(session, model, None, ROWS_MAX)
        return [row.model_dump(mode="json") for row in found]

    def import_rows(self, session: Session, rows: Sequence[dict[str, Any]]) -> None:
        """Raises InvalidError where a row is none."""
        if len(rows) > ROWS_MAX:
            raise InvalidError(f"the archive holds over {ROWS_MAX} gates", "export it again")
        for values in rows:
            row = _checked(values)
            build = session.get(Build, row.candidate_build)
            if build is None or (build.model, build.number) != (row.model, row.candidate):
                raise InvalidError(
                    f"the archive's evidence {row.id[:12]} is of a build that is not its own",
                    "export it again",
                )
            if session.get(Evidence, row.id) is None:
                session.add(Evidence(**row.model_dump(mode="json")))
        session.flush()

    def blobs(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """Digests of records and pages."""
        return [str(row[key]) for row in rows for key in ("record_sha256", "page_sha256")]


def _checked(values: dict[str, Any]) -> ArchivedEvidence:
    try:
        return ArchivedEvidence.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidError(
            f"evidence in the archive: {first['loc'][:1]}: {first['msg']}", "export it again"
        ) from error
