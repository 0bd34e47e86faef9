"""A running hub with one model and one device, for tests that roll versions out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.fleet import service as fleet
from cloud.hub import Hub
from cloud.registry import service as registry
from cloud.registry.service import NewVersion
from cloud.rollouts import service as rollouts
from cloud.rollouts.evidence import gathering
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.request.spec import RolloutCreate
from protocol.messages import ExecutionReport
from tests.fixtures.models import write_bundle
from tests.integration.edge_agent.device import DEVICE_ID, SLOT

ADMIN = Principal(PrincipalKind.USER, "ada", Role.ADMINISTRATOR)
DEADLINE_S = 90.0


class Bench:
    """A running hub with one model and one device."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        with hub.database.transaction() as session:
            registry.create_model(session, ADMIN, SLOT, ["scratch", "dent"])
            fleet.enrol(session, ADMIN, DEVICE_ID, models=[SLOT])

    def publish(self, number: int, **bundle: Any) -> str:
        """Register a version with one build; its digest."""
        folder = self.folder / f"v{number}"
        digest, manifest = write_bundle(folder, variant=number, version=number, **bundle)
        weights = self.hub.blobs.put_file(folder / "model.onnx")
        for file in folder.rglob("*"):
            if file.is_file():
                self.hub.blobs.put_file(file)
        new = NewVersion(
            manifest=manifest,
            parent=None,
            dataset="d",
            dataset_version=1,
            dataset_digest="d" * 64,
            weights=weights,
            lineage={},
            metrics={},
        )
        with self.hub.database.transaction() as session:
            registry.register_version(session, ADMIN, new, (self.hub.trust.register_build,))
        return digest

    def roll_out(self, number: int) -> tuple[Rollout, Execution]:
        """Roll a version out and wait for the end; the rollout and its last execution."""
        rollout_id = self.begin(number)
        self.wait(lambda: self.look(rollout_id)[0].state == "FINISHED")
        return self.look(rollout_id)

    def begin(self, number: int, **asked: Any) -> str:
        """Begin to roll a version out; the rollout's id."""
        given = {"model": SLOT, "version": number, "probation_s": 0.5, **asked}
        with self.hub.database.transaction() as session:
            return rollouts.create(session, ADMIN, RolloutCreate.model_validate(given)).id

    def revoke_below(self, number: int) -> None:
        with self.hub.database.transaction() as session:
            registry.set_floor(session, ADMIN, SLOT, number)

    def pin(self, number: int) -> None:
        with self.hub.database.transaction() as session:
            rollouts.pin(session, ADMIN, DEVICE_ID, SLOT, version=number)

    def unpin(self) -> str | None:
        """The digest that is desired again."""
        with self.hub.database.transaction() as session:
            return rollouts.unpin(session, ADMIN, DEVICE_ID, SLOT)[0]

    def record(self, rollout_id: str) -> dict[str, Any]:
        with self.hub.database.reading() as session:
            return gathering.collect(session, ADMIN, rollout_id, time.time())

    def look(self, rollout_id: str) -> tuple[Rollout, Execution]:
        with self.hub.database.reading() as session:
            rollout = rollouts.get(session, ADMIN, rollout_id)
            return rollout, rollouts.executions(session, rollout)[-1]

    def desired(self) -> str | None:
        with self.hub.database.reading() as session:
            wanted = fleet.desired(fleet.get_device(session, ADMIN, DEVICE_ID))
        return wanted.slots[SLOT].bundle_digest if wanted and SLOT in wanted.slots else None

    def running(self) -> str | None:
        with self.hub.database.reading() as session:
            return fleet.get_device(session, ADMIN, DEVICE_ID).running.get(SLOT)

    def last_told(self) -> ExecutionReport | None:
        """The attempt that the device's last report is of."""
        with self.hub.database.reading() as session:
            reported = fleet.reported(fleet.get_device(session, ADMIN, DEVICE_ID))
        slot = reported.slots.get(SLOT) if reported else None
        return slot.execution if slot else None

    def wait(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not until():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S:g} s"
            time.sleep(0.05)
