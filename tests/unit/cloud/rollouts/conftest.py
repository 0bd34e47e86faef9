"""A hub's database with a model of two versions and enrolled devices, without a broker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cloud import answers
from cloud.access import service as access
from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.database import Database
from cloud.fleet import inbound
from cloud.fleet import service as fleet
from cloud.fleet.router import router as fleet_router
from cloud.inbound import Received
from cloud.registry.models import DetectorModel
from cloud.rollouts import service
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.request.spec import RolloutCreate
from cloud.rollouts.router import router
from cloud.rollouts.running.engine import Engine
from protocol.messages import Desired, ExecutionReport, Reported, SlotReported, decode, encode
from protocol.states import ExecutionState
from protocol.topics import Kind, Topic
from tests.fixtures.registered import add_version
from tests.simulation.rollouts.builds import ABLE, IDENTITY
from tests.simulation.rollouts.devices import PATH

ADMIN = Principal(PrincipalKind.USER, "ada", Role.ADMINISTRATOR)
DIGESTS = {1: "1" * 64, 2: "2" * 64}
MODEL = "caps"
START = 1_000_000.0


@dataclass
class Published:
    """Stands where the broker's link does and keeps what was published."""

    messages: list[tuple[Topic, bytes]] = field(default_factory=list)

    def publish(self, topic: Topic, payload: bytes) -> None:
        self.messages.append((topic, payload))

    def desired(self, device_id: str) -> list[Desired]:
        wanted = Topic(Kind.DESIRED, device_id=device_id)
        return [decode(Kind.DESIRED, data) for topic, data in self.messages if topic == wanted]


@dataclass
class Hub:
    """The verbs of the slice, each in a transaction, and a clock that tests turn."""

    database: Database
    published: Published
    engine: Engine
    now: float = START

    def create(self, **asked: Any) -> str:
        with self.database.transaction() as session:
            body = RolloutCreate.model_validate({"model": MODEL, "version": 1, **asked})
            return service.create(session, ADMIN, body).id

    def call(self, verb: Callable[..., Rollout], rollout_id: str) -> None:
        with self.database.transaction() as session:
            verb(session, ADMIN, rollout_id)

    def settle(self, seconds: float = 0.0) -> None:
        self.now += seconds
        while self.engine.tick(self.now):
            pass

    def rollout(self, rollout_id: str) -> Rollout:
        with self.database.reading() as session:
            return service.get(session, ADMIN, rollout_id)

    def executions(self, rollout_id: str) -> dict[tuple[str, int], Execution]:
        with self.database.reading() as session:
            rows = service.executions(session, service.get(session, ADMIN, rollout_id))
            return {(row.device_id, row.attempt): row for row in rows}

    def report(
        self,
        device_id: str,
        state: ExecutionState,
        reason: str = "",
        figures: dict[str, float] | None = None,
        *,
        by_hand: bool = False,
    ) -> bool:
        """The device speaks of what it was last told to run."""
        slot = self.published.desired(device_id)[-1].slots[MODEL]
        report = ExecutionReport(
            rollout_id=slot.rollout_id,
            attempt=slot.attempt,
            slot=MODEL,
            bundle_digest=slot.bundle_digest,
            state=state,
            reason=reason,
            figures=figures or {},
            by_hand=by_hand,
        )
        return self.tell(device_id, report)

    def tell(self, device_id: str, report: ExecutionReport) -> bool:
        with self.database.transaction() as session:
            return service.on_execution(session, device_id, report, self.now, now=self.now)

    def succeed(self, device_id: str) -> None:
        for state in PATH:
            self.report(device_id, state)

    def runs(self, device_id: str, digest: str, after_s: float = 1.0) -> None:
        """The device's own word on what it runs."""
        message = Reported(
            device_id=device_id,
            boot_id="boot",
            session_epoch=1,
            agent_version="0.1.0",
            desired_generation=1,
            slots={MODEL: SlotReported(running_digest=digest)},
            capabilities=ABLE,
            reported_at=self.now + after_s,
        )
        with self.database.transaction() as session:
            received = Received(
                Topic(Kind.REPORTED, device_id=device_id), encode(message), message, self.now
            )
            assert inbound.store_reports(session, [received])["stored"] == 1


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "hub.sqlite3"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def hub(migrated: Path, tmp_path: Path) -> Iterator[Hub]:
    database = Database(f"sqlite:///{shutil.copy(migrated, tmp_path)}")
    published = Published()
    database.publisher = published
    with database.transaction() as session:
        session.add(DetectorModel(name=MODEL, class_names=["cap"], created_at=0, created_by="ada"))
        session.flush()
        for number, digest in DIGESTS.items():
            add_version(session, MODEL, number, digest, IDENTITY)
        for number in range(6):
            labels = {"line": "a" if number < 2 else "b"}
            fleet.enrol(session, ADMIN, f"dev-{number}", labels=labels, models=[MODEL])
        fleet.enrol(session, ADMIN, "shelf", models=["bottles"])
    yield Hub(database, published, Engine(database, 1.0))
    database.close()


def token(hub: Hub, role: Role, name: str = "") -> str:
    with hub.database.transaction() as session:
        return access.issue(session, PrincipalKind.USER, name or role.word, role)[1]


@pytest.fixture
def http(hub: Hub) -> TestClient:
    """The routes of rollouts and of the fleet, as an approver called `april`."""
    app = FastAPI()
    answers.install(app)
    for routes in (router, fleet_router):
        app.include_router(routes, prefix="/api/v1")
    app.state.database = hub.database
    client = TestClient(app, base_url="http://hub/api/v1")
    client.headers["Authorization"] = f"Bearer {token(hub, Role.APPROVER, 'april')}"
    return client
