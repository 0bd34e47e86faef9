"""A real database in a folder of the test, and the API over it without a broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cloud import settings
from cloud.access import service as access
from cloud.access.principal import PrincipalKind, Role, service_principal
from cloud.app import application
from cloud.database import Database
from cloud.hub import Hub
from protocol.topics import Topic

OPERATOR = service_principal("tester", Role.OPERATOR)
ADMINISTRATOR = service_principal("tester", Role.ADMINISTRATOR)


@dataclass
class Heard:
    """A publisher that keeps what it is given."""

    messages: list[tuple[Topic, bytes]] = field(default_factory=list)

    def publish(self, topic: Topic, payload: bytes) -> None:
        self.messages.append((topic, payload))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database at the newest schema."""
    opened = Database(f"sqlite:///{tmp_path / 'test.sqlite3'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def heard(database: Database) -> Heard:
    """What `database` publishes after its commits."""
    database.publisher = publisher = Heard()
    return publisher


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub whose link and loops are not started."""
    made = Hub(settings.load(tmp_path / "hub"))
    yield made
    made.stop()


@dataclass
class Api:
    """The hub's API over HTTP, as whom one likes."""

    hub: Hub
    http: TestClient

    def token(self, role: Role, name: str = "somebody") -> str:
        with self.hub.database.transaction() as session:
            return access.issue(session, PrincipalKind.USER, name, role)[1]

    def acting(self, role: Role) -> TestClient:
        """The client with a token of `role`."""
        return self.bearing(self.token(role))

    def bearing(self, token: str) -> TestClient:
        self.http.headers["Authorization"] = f"Bearer {token}"
        return self.http


@pytest.fixture
def api(hub: Hub) -> Api:
    client = TestClient(
        application(hub), base_url="http://hub/api/v1", raise_server_exceptions=False
    )
    return Api(hub, client)
