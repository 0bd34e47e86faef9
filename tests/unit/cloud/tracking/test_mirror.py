"""When the mirror pushes, and what it keeps of what went wrong; a stand-in for the child."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from cloud.access.principal import Role, service_principal
from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.settings import TrackingSettings
from cloud.tracking import service
from cloud.tracking.environment import environment, redacted, secrets_in
from cloud.tracking.mirror import Mirror
from cloud.tracking.models import TrackedVersion
from cloud.tracking.push import Pushed, push_all
from cloud.tracking.retrying import Retry
from tests.fixtures import tracked

SERVER = "http://mlflow.example:5000"

# Says of every push that it is done, or with `no` beside the order why it is not.
STAND_IN = """
import json, pathlib, sys
order, result = map(pathlib.Path, sys.argv[1:])
no = order.parent.parent / "no"
lines = []
for item in json.loads(order.read_text())["pushes"]:
    said = {"key": item["content"]["key"]}
    if no.exists():
        lines.append(json.dumps({**said, "error": no.read_text(), "unreachable": True}))
        break
    lines.append(json.dumps({**said, "run_id": "r", "model_version": "4"}))
result.write_text("".join(line + "\\n" for line in lines))
"""


class World:
    """A mirror with a clock that is set by hand."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.now, self.folder, self.database = 1000.0, folder, database
        self.store = BlobStore(folder / "blobs", blob_bytes_max=1024**2)

    def mirror(self, child: str = STAND_IN, **changes: Any) -> Mirror:
        settings = TrackingSettings(**{"tracking_uri": SERVER, **changes})
        return Mirror(
            self.database,
            self.store,
            self.folder / "mirror",
            settings,
            rng=random.Random(3),
            clock=lambda: self.now,
            child=(sys.executable, "-c", child),
        )

    def row(self, version_id: int = 1) -> TrackedVersion:
        with self.database.reading() as session:
            found = session.get(TrackedVersion, (version_id, SERVER))
        assert found is not None
        return found


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World(database, tmp_path)
    with database.transaction() as session:
        for number in (1, 2):
            tracked.register(session, made.store, number)
    return made


def test_only_news_are_pushed(world: World) -> None:
    mirror = world.mirror()
    assert mirror.step() == 2
    assert (world.row().run_id, world.row().model_version) == ("r", "4")
    assert mirror.step() == 0
    with world.database.transaction() as session:
        tracked.point(session, "production", 2)
    assert mirror.step() == 1


def test_without_a_server_nothing_happens(world: World) -> None:
    mirror = world.mirror(tracking_uri=None)
    mirror.start()
    assert mirror.step() == 0
    mirror.stop()


def test_a_step_pushes_no_more_than_it_may(world: World) -> None:
    mirror = world.mirror(versions_per_push_max=1)
    assert [mirror.step(), mirror.step(), mirror.step()] == [1, 1, 0]


def test_a_failure_is_kept_and_tried_again_later(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = world.folder / "no"
    refusal.write_text("nobody answers")
    mirror = world.mirror(retry_delay_first_s=10.0)
    with caplog.at_level(logging.WARNING):
        assert mirror.step() == 0
    assert len([r for r in caplog.records if r.name == "cloud.tracking.mirror"]) == 1
    # The second was not tried; what held the first holds for it.
    assert [world.row(i).error for i in (1, 2)] == ["nobody answers"] * 2
    refusal.unlink()
    assert mirror.step() == 0
    world.now += 10.0
    assert mirror.step() == 2
    assert (world.row().failures, world.row().error) == (0, None)


def test_a_child_that_fails_says_no_secret(world: World, caplog: pytest.LogCaptureFixture) -> None:
    child = "import os; raise SystemExit('no: ' + os.environ['MLFLOW_TRACKING_TOKEN'])"
    assert world.mirror(child, token=SecretStr("hush-hush")).step() == 0
    error = world.row().error or ""
    assert "no: ***" in error and "hush-hush" not in error + caplog.text


def test_a_child_that_hangs_is_ended(world: World) -> None:
    assert world.mirror("import time; time.sleep(60)", push_timeout_s=0.5).step() == 0
    assert world.row().error == "not done within 0.5 s"


def test_waits_double_up_to_the_maximum_with_some_luck_in_them() -> None:
    retry, rng = Retry(first_s=5.0, max_s=60.0), random.Random(0)
    for failures, whole in ((1, 5.0), (2, 10.0), (4, 40.0), (5, 60.0), (10_000, 60.0)):
        waits = {retry.delay_s(failures, rng) for _ in range(50)}
        assert whole / 2 <= min(waits) < max(waits) <= whole


def test_the_child_reports_nothing_to_others_and_follows_no_redirect() -> None:
    made = environment(TrackingSettings(tracking_uri=SERVER, password=SecretStr("pass")))
    assert made["MLFLOW_DISABLE_TELEMETRY"] == made["DO_NOT_TRACK"] == "true"
    assert made["MLFLOW_ALLOW_HTTP_REDIRECTS"] == "false"
    assert "MLFLOW_TRACKING_TOKEN" not in made
    assert redacted("it is pass", secrets_in(made)) == "it is ***"


@pytest.mark.parametrize(
    "uri", ["http://me:word@host", "file:///runs", "databricks", "http://", "sqlite://", "s3://b/c"]
)
def test_addresses_that_are_refused(uri: str) -> None:
    with pytest.raises(ValidationError):
        TrackingSettings(tracking_uri=uri)


def test_the_first_that_finds_no_server_is_the_last() -> None:
    reported: list[Pushed] = []
    pushed = _push_three(OddError("slow"), reported.append)
    assert (pushed, [p.unreachable for p in reported]) == (3, [False, False, False])
    reported.clear()
    from requests.exceptions import ConnectTimeout

    assert _push_three(ConnectTimeout("no t0ken"), reported.append) == 1
    assert [(p.error, p.unreachable) for p in reported] == [("no ***", True)]


class OddError(Exception):
    """Anything that tells nothing of the server as a whole."""


def _push_three(error: Exception, report: Callable[[Pushed], None]) -> int:
    owner = tracked.version()
    from cloud.tracking.content import Bounds, content

    made = content(owner, [], [], [], prefix="hub", bounds=Bounds(1, 1), build_files={})
    item = {"content": made.as_json(), "run_id": None, "blobs": {}}
    tried: list[str] = []

    def push(wanted: Any, run_id: str | None, blobs: Any) -> tuple[str, str]:
        tried.append(wanted.key)
        raise error

    push_all({"pushes": [item] * 3}, push, report, ("t0ken",))
    return len(tried)


def test_status_tells_what_is_mirrored_and_what_failed(world: World) -> None:
    viewer = service_principal("somebody", Role.VIEWER)
    with world.database.transaction() as session:
        tracked.register(session, world.store, 3)
        session.add(TrackedVersion(version_id=1, server=SERVER, content_sha256="c" * 64, at=5.0))
        session.add(TrackedVersion(version_id=2, server=SERVER, at=6.0, failures=2, error="no"))
    with world.database.reading() as session:
        whole = service.status(session, viewer, SERVER, after=0, limit=2)
        rest = service.status(session, viewer, SERVER, after=2, limit=2)
        none = service.status(session, viewer, None, after=0, limit=2)
    assert (whole.versions, whole.mirrored, whole.failing, whole.next) == (3, 1, 1, 2)
    states = [(i.number, i.state.value, i.error) for i in whole.items]
    assert states == [(1, "MIRRORED", None), (2, "FAILED", "no")]
    assert [(i.number, i.state.value) for i in rest.items] == [(3, "PENDING")]
    assert (none.server, none.items, none.next) == (None, [], None)
