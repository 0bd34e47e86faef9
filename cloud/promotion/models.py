"""Table of evidence: one row for each time a gate was asked."""

from __future__ import annotations

from sqlmodel import Field, SQLModel


class Evidence(SQLModel, table=True):
    """What a gate found, with its record (JSON) and page (HTML) as blobs. Never changed.

    Attributes:
        candidate, incumbent: version numbers; no incumbent where the alias pointed nowhere.
        verdict: PASS, FAIL or INCONCLUSIVE.
    """

    __tablename__ = "evidence"

    id: str = Field(primary_key=True)
    model: str = Field(foreign_key="model.name", index=True)
    alias: str
    candidate: int
    incumbent: int | None = None
    candidate_build: str
    incumbent_build: str | None = None
    verdict: str
    record_sha256: str
    page_sha256: str
    job: str | None = None
    at: float
    by: str
