"""From the registry's rows to a version's card."""

from __future__ import annotations

from sqlmodel import Session

from cloud.access.principal import Principal
from cloud.datasets import service as datasets
from cloud.errors import NotFoundError
from cloud.registry import card, history
from cloud.registry.models import Build, ModelVersion
from cloud.registry.reading import builds_of, get_model, get_version
from protocol.builds import BuildIdentity


def model_card(session: Session, principal: Principal, model: str, number: int) -> str:
    """The card of a version, as Markdown. Raises NotFoundError where there is none."""
    row = get_model(session, principal, model)
    version = get_version(session, principal, model, number)
    splits, left_out = _dataset(session, principal, version)
    return card.write(
        card.CardFacts(
            model=model,
            number=number,
            class_names=row.class_names,
            created_at=version.created_at,
            created_by=version.created_by,
            source=version.source,
            parent=version.parent,
            dataset=version.dataset,
            dataset_version=version.dataset_version,
            dataset_digest=version.dataset_digest,
            weights_sha256=version.weights_sha256,
            lineage=version.lineage,
            metrics=version.metrics,
            builds=[_build(build) for build in builds_of(session, version)],
            splits=splits,
            left_out=left_out,
            aliases=[
                a.alias for a in history.aliases(session, principal, model) if a.number == number
            ],
            notes=[
                (note.by, note.text)
                for note in history.notes(session, principal, f"model/{model}/{number}")
            ],
            revoked=number < row.floor,
            policy=row.policy,
        )
    )


def _build(build: Build) -> card.BuildFacts:
    return card.BuildFacts(
        digest=build.digest,
        target=BuildIdentity.model_validate(build.identity).label(),
        state=build.state,
        size_bytes=build.size_bytes,
        metrics=build.metrics,
        verdict=build.verdict,
        notes=build.notes,
    )


def _dataset(
    session: Session, principal: Principal, version: ModelVersion
) -> tuple[dict[str, int] | None, int | None]:
    """Images of each split and number of images left out, where this hub has the dataset."""
    try:
        found = datasets.get_version(session, principal, version.dataset, version.dataset_version)
    except NotFoundError:
        return None, None
    if found.digest != version.dataset_digest:
        return None, None
    return found.counts, len(found.left_out)
