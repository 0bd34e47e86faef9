"""Builds beyond the first, floors, archive, pin and deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud.access import service as access
from cloud.access.principal import service_principal
from cloud.distribution.service import TrustService
from cloud.distribution.trust import TrustRepository
from cloud.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from cloud.fleet import service as fleet
from cloud.jobs import service as jobs
from cloud.registry import service
from cloud.registry.models import Build, ModelVersion
from cloud.registry.schemas import BuildView, VersionView
from protocol.messages import SlotDesired
from tests.unit.cloud.distribution.test_trust import trusted
from tests.unit.cloud.registry.conftest import ADA, APPROVER, OPERATOR, Registry


@pytest.fixture
def trust(tmp_path: Path, registry: Registry) -> TrustRepository:
    made = TrustRepository(tmp_path / "trust", tmp_path / "keys", expires_s=7 * 86_400)
    with registry.database.reading() as session:
        TrustService(made).reconcile(session)
    return made


def named(trust: TrustRepository) -> dict[str, int]:
    """Digest → floor of each target."""
    targets = trusted(trust.files()).targets.targets
    return {digest: target.custom["floor"] for digest, target in targets.items()}


def test_a_further_build_is_added_once(registry: Registry) -> None:
    version, first = registry.register(1)
    second = registry.add(version, precision="fp16")
    assert registry.add(version, precision="fp16", admitted=False).state == "EVALUATED"
    with registry.database.reading() as session:
        assert [b.digest for b in service.builds_of(session, version)] == [
            first.digest,
            second.digest,
        ]
    assert (second.metrics["map50"], second.notes, second.verdict["admitted"]) == (
        0.49,
        {"rung": 0},
        True,
    )


def test_a_build_of_something_else_is_refused(registry: Registry) -> None:
    version, _ = registry.register(1)
    registry.register(2)
    blank: dict[str, Any] = {"metrics": {}, "verdict": {}, "notes": {}}
    with registry.database.transaction() as session:
        with pytest.raises(InvalidError, match="of caps v2, not of caps v1"):
            service.add_build(session, OPERATOR, version, registry.manifest(2), **blank)
        other = registry.manifest(1).model_copy(update={"class_names": ("dent", "scratch")})
        with pytest.raises(InvalidError, match="tells dent, scratch apart"):
            service.add_build(session, OPERATOR, version, other, **blank)


def test_only_admitted_builds_are_named_and_a_reinstated_one_is_then(
    registry: Registry, trust: TrustRepository
) -> None:
    version, first = registry.register(1)
    hooks = TrustService(trust)
    with registry.database.transaction() as session:
        for admitted, precision in ((True, "fp16"), (False, "int8")):
            service.add_build(
                session, OPERATOR, version, registry.manifest(1, precision=precision),
                metrics={}, verdict={"admitted": admitted}, notes={},
                hooks=(hooks.register_build,),
            )  # fmt: skip
        *_, good, bad = service.builds_of(session, version)
        assert (good.state, bad.state) == ("EVALUATED", "REJECTED")
        assert set(named(trust)) == {good.digest}
        hooks.reconcile(session)
        assert set(named(trust)) == {first.digest, good.digest}
        service.reinstate_build(
            session, APPROVER, bad.digest, "the golden set was wrong", (hooks.reinstate_build,)
        )
        service.reject_build(session, APPROVER, good.digest, "blurry")
        hooks.reconcile(session)
    assert set(named(trust)) == {first.digest, good.digest, bad.digest}


def test_a_floor_revokes_what_is_below_it(registry: Registry, trust: TrustRepository) -> None:
    version, build = registry.register(1)
    registry.register(2)
    hooks = TrustService(trust)
    with registry.database.transaction() as session:
        hooks.reconcile(session)
        service.set_floor(session, APPROVER, "caps", 2, hooks=(hooks.set_floor,))
        assert set(named(trust).values()) == {2}
        lowest = service.floor(session, "caps")
        assert BuildView.of(build, lowest).state == "REVOKED"
        assert VersionView.of(version, [build], lowest).state == "REVOKED"
        (offer,) = service.offers(session, version)
        assert offer.revoked
        with pytest.raises(ConflictError, match="v1 is revoked") as caught:
            service.set_alias(session, ADA, "caps", "production", 1)
        assert "take version 2" in caught.value.remedy


def test_a_floor_is_not_raised_over_an_alias_nor_lowered_lightly(registry: Registry) -> None:
    for number in (1, 2):
        registry.register(number)
    with registry.database.transaction() as session:
        service.set_alias(session, ADA, "caps", "production", 1)
        with pytest.raises(ConflictError, match="alias production points at v1") as caught:
            service.set_floor(session, ADA, "caps", 2)
        assert "move it first" in caught.value.remedy
        service.set_alias(session, ADA, "caps", "production", 2)
        with pytest.raises(InvalidError, match="leaves no version"):
            service.set_floor(session, ADA, "caps", 3)
        with pytest.raises(ForbiddenError):
            service.set_floor(session, OPERATOR, "caps", 2)
        service.set_floor(session, APPROVER, "caps", 2)
        with pytest.raises(ForbiddenError):
            service.set_floor(session, APPROVER, "caps", 1, reason="please")
        with pytest.raises(InvalidError, match="without a reason"):
            service.set_floor(session, ADA, "caps", 1, reason=" ")
        service.set_floor(session, ADA, "caps", 1, reason="v2 was the worse one")
        entry = next(
            e for e in access.list_audit(session, ADA, "model/caps", None, 10)
            if e.verb == "model.floor"
        )  # fmt: skip
    assert entry.detail == {"before": 2, "floor": 1, "reason": "v2 was the worse one"}


def desire(registry: Registry, build: Build, device_id: str = "dev-1") -> None:
    with registry.database.transaction() as session:
        fleet.enrol(session, ADA, device_id, models=["caps"])
        slot = SlotDesired(
            bundle_digest=build.digest,
            manifest_bytes=build.manifest_bytes,
            model="caps",
            version=build.number,
        )
        fleet.set_slot(session, service_principal("test"), device_id, "caps", slot)


def run(registry: Registry, build: Build) -> None:
    with registry.database.transaction() as session:
        device, _ = fleet.enrol(session, ADA, "dev-2", models=["caps"])
        device.running = {"caps": build.digest}
        session.add(device)


HOLDERS: dict[str, str] = {
    "pin": "it is pinned",
    "alias": "alias production points at it",
    "desired": "deployed on dev-1",
    "running": "deployed on dev-2",
    "rollout": "rollout r1 is open",
    "job": "gate job [0-9a-f]+ is queued",
}


def hold(registry: Registry, how: str, version: ModelVersion, build: Build) -> None:
    if how == "desired":
        desire(registry, build)
    elif how == "running":
        run(registry, build)
    else:
        with registry.database.transaction() as session:
            if how == "pin":
                service.pin(session, OPERATOR, "caps", version.number)
            elif how == "alias":
                service.set_alias(session, ADA, "caps", "production", version.number)
            elif how == "job":
                jobs.request(session, OPERATOR, "gate", f"model/caps/{version.number}", {})
            else:
                for event in ("started", "paused"):
                    service.record_deployment(
                        session, ADA, "caps", version.number, rollout="r1", event=event
                    )


@pytest.mark.parametrize("how", HOLDERS)
def test_what_is_held_is_neither_deleted_nor_archived(registry: Registry, how: str) -> None:
    registry.register(1)
    version, build = registry.register(2)
    hold(registry, how, version, build)
    with registry.database.transaction() as session:
        for verb in (service.delete_version, service.archive_version):
            with pytest.raises(ConflictError, match=HOLDERS[how]):
                verb(session, ADA, "caps", 2)
        for whole in (service.delete_model, service.archive_model):
            with pytest.raises(ConflictError, match="caps is not"):
                whole(session, ADA, "caps")
        service.archive_version(session, ADA, "caps", 1)
        service.delete_version(session, ADA, "caps", 1)


def test_a_parent_stays_and_an_ended_rollout_holds_nothing(registry: Registry) -> None:
    registry.register(1)
    registry.register(2, parent=1)
    with registry.database.transaction() as session:
        with pytest.raises(ConflictError, match="parent of v2"):
            service.delete_version(session, ADA, "caps", 1)
        for event in ("started", "finished"):
            service.record_deployment(session, ADA, "caps", 2, rollout="r1", event=event)
        service.delete_version(session, ADA, "caps", 2)
        service.delete_version(session, ADA, "caps", 1)


def test_deletion_takes_the_rows_and_leaves_blobs_history_and_numbers(registry: Registry) -> None:
    version, build = registry.register(1)
    with registry.database.transaction() as session:
        service.add_artefact(
            session, OPERATOR, version, "a.csv", kind="curves", media_type="text/csv",
            blob=registry.store.put([b"1"]),
        )  # fmt: skip
        service.set_alias(session, ADA, "caps", "production", 1)
        service.set_alias(session, ADA, "caps", "production", None)
        told: list[str] = []
        with pytest.raises(ForbiddenError):
            service.delete_version(session, APPROVER, "caps", 1)
        service.delete_version(
            session, ADA, "caps", 1, [lambda _s, v, b: told.append(f"{v.number} {len(b)}")]
        )
        assert told == ["1 1"]
        with pytest.raises(NotFoundError):
            service.get_build(session, ADA, build.digest)
        assert [p.number for p in service.promotions(session, ADA, "caps")] == [1, None]
        assert service.next_number(session, "caps") == 2
        with pytest.raises(ConflictError, match="that is not forgotten") as caught:
            service.delete_model(session, ADA, "caps")
        assert "argosy model archive caps" in caught.value.remedy
    assert registry.store.has(build.digest)


def test_the_number_of_a_deleted_version_is_not_given_out_again(registry: Registry) -> None:
    registry.register(1)
    registry.register(2)
    with registry.database.transaction() as session:
        service.add_note(session, OPERATOR, "model/caps/2", "half of the boxes were wrong")
        service.delete_version(session, ADA, "caps", 2)
        assert service.next_number(session, "caps") == 3
        assert service.newest_version(session, "caps") == 1
    with pytest.raises(ConflictError, match="given the number 2 out before"):
        registry.register(2)
    registry.register(3)
    with registry.database.transaction() as session:
        assert service.notes(session, OPERATOR, "model/caps/3") == []
        service.delete_model(session, ADA, "caps")
        service.create_model(session, ADA, "caps", ["scratch", "dent"])
        assert service.next_number(session, "caps") == 3


def test_nothing_is_registered_into_what_is_archived(registry: Registry) -> None:
    version, build = registry.register(1)
    with registry.database.transaction() as session:
        service.archive_version(session, OPERATOR, "caps", 1)
    with pytest.raises(ConflictError, match="caps v1 is archived"):
        registry.add(version, precision="int8")
    with registry.database.transaction() as session:
        service.archive_model(session, OPERATOR, "caps")
    with pytest.raises(ConflictError, match="caps is archived"):
        registry.register(2)
    with registry.database.reading() as session:
        assert service.builds_of(session, version) == [build]
        assert service.next_number(session, "caps") == 2


def test_a_model_is_held_by_a_job_about_itself_and_not_by_its_neighbours(
    registry: Registry,
) -> None:
    with registry.database.transaction() as session:
        service.create_model(session, ADA, "cap", ["scratch"])
        job = jobs.request(session, OPERATOR, "import", "model/caps", {})
        with pytest.raises(ConflictError, match=f"import job {job.id} is queued"):
            service.archive_model(session, OPERATOR, "caps")
        service.delete_model(session, ADA, "cap")
        jobs.cancel(session, OPERATOR, job.id)
        service.archive_model(session, OPERATOR, "caps")


def test_a_model_without_history_is_deleted_with_all(registry: Registry) -> None:
    registry.register(1)
    registry.register(2, parent=1)
    with registry.database.transaction() as session:
        service.delete_model(session, ADA, "caps")
        with pytest.raises(NotFoundError):
            service.get_model(session, ADA, "caps")
        assert list(service.all_builds(session)) == []


def test_what_is_archived_is_not_listed_and_comes_back(registry: Registry) -> None:
    registry.register(1)
    registry.register(2)
    with registry.database.transaction() as session:
        service.archive_version(session, OPERATOR, "caps", 1)
        listed = service.list_versions(session, ADA, "caps", 0, 10)
        assert [v.number for v in listed] == [2]
        everything = service.list_versions(session, ADA, "caps", 0, 10, archived=True)
        assert [v.number for v in everything] == [1, 2]
        service.archive_model(session, OPERATOR, "caps")
        assert list(service.list_models(session, ADA, None, 10)) == []
        with pytest.raises(ConflictError, match="caps is archived"):
            service.check_standing(session, "caps", 2)
        service.archive_model(session, OPERATOR, "caps", archived=False)
        service.archive_version(session, OPERATOR, "caps", 1, archived=False)
        service.check_standing(session, "caps", 1)


@pytest.mark.parametrize("name", ["", "../evil", ".hidden", "a/b", "x" * 129, 'a"b', "a\nb"])
def test_artefacts_have_bounded_names(registry: Registry, name: str) -> None:
    version, _ = registry.register(1)
    blob = registry.store.put([b"x"])
    with (
        registry.database.transaction() as session,
        pytest.raises(InvalidError, match="no name of an artefact"),
    ):
        service.add_artefact(
            session, OPERATOR, version, name, kind="curves", media_type="text/csv", blob=blob
        )


def test_an_artefact_is_kept_once_under_its_name(registry: Registry) -> None:
    version, _ = registry.register(1)
    first, second = registry.store.put([b"1"]), registry.store.put([b"2"])
    with registry.database.transaction() as session:
        for blob in (first, first):
            service.add_artefact(
                session, OPERATOR, version, "a.csv", kind="curves", media_type="text/csv",
                blob=blob,
            )  # fmt: skip
        assert len(service.artefacts(session, ADA, "caps", 1)) == 1
        with pytest.raises(ConflictError, match=r"another file a\.csv"):
            service.add_artefact(
                session, OPERATOR, version, "a.csv", kind="curves", media_type="text/csv",
                blob=second,
            )  # fmt: skip
        with pytest.raises(NotFoundError, match=r"no artefact b\.csv"):
            service.artefact(session, ADA, "caps", 1, "b.csv")
