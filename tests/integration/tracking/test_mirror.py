"""Versions on a real MLflow server: complete, once, and whatever happens in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.registry.models import Build, ModelVersion
from cloud.settings import TrackingSettings
from cloud.tracking.mirror import Mirror
from cloud.tracking.models import TrackedVersion
from tests.fixtures import tracked
from tests.integration.tracking.server import MlflowServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(280)]


class Asked:
    """The server over its REST interface, without MLflow's own client."""

    def __init__(self, url: str, prefix: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/2.0/mlflow/", timeout=20.0)
        self._url, self._prefix = url, prefix

    @property
    def _of_model(self) -> dict[str, Any]:
        return {"max_results": 100, "filter": f"name = '{self._prefix}.boards'"}

    def runs(self) -> list[dict[str, Any]]:
        found = self._http.post("experiments/search", json={"max_results": 100}).json()
        ids = [
            experiment["experiment_id"]
            for experiment in found["experiments"]
            if experiment["name"] == f"{self._prefix}/boards"
        ]
        answer = self._http.post("runs/search", json={"experiment_ids": ids, "max_results": 100})
        return list(answer.json().get("runs", []))

    def model_versions(self) -> list[dict[str, Any]]:
        answer = self._http.get("model-versions/search", params=self._of_model)
        return list(answer.json().get("model_versions", []))

    def aliases(self) -> dict[str, str]:
        answer = self._http.get("registered-models/get", params={"name": f"{self._prefix}.boards"})
        entries = answer.json()["registered_model"].get("aliases", [])
        return {entry["alias"]: entry["version"] for entry in entries}

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        query = {"run_id": run_id, "metric_key": metric}
        answer = self._http.get("metrics/get-history", params=query).json()
        return [(int(m.get("step", 0)), m["value"]) for m in answer.get("metrics", [])]

    def artifact(self, run: dict[str, Any], path: str) -> bytes:
        folder = run["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
        url = f"{self._url}/api/2.0/mlflow-artifacts/artifacts/{folder}/{path}"
        return self._http.get(url).raise_for_status().content


MirrorOf = Callable[..., Mirror]


@pytest.fixture
def mirror_of(database: Database, store: BlobStore, tmp_path: Path) -> MirrorOf:
    def make(uri: str, **changes: Any) -> Mirror:
        settings = TrackingSettings(
            tracking_uri=uri, timeout_s=20, **{"retry_delay_first_s": 0.001, **changes}
        )
        return Mirror(database, store, tmp_path / "mirror", settings, rng=random.Random(1))

    return make


def rows(database: Database) -> list[TrackedVersion]:
    with database.reading() as session:
        found = [session.get(TrackedVersion, (i, server)) for i, server in keys(database)]
    return [row for row in found if row is not None]


def keys(database: Database) -> list[tuple[int, str]]:
    with database.engine.connect() as connection:
        query = "SELECT version_id, server FROM tracked_version ORDER BY version_id"
        return [(row[0], row[1]) for row in connection.exec_driver_sql(query)]


def pairs(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["key"]: entry.get("value") for entry in entries}


def test_a_version_with_its_builds_is_mirrored_once_and_follows_the_registry(
    server: MlflowServer, database: Database, store: BlobStore, mirror_of: MirrorOf
) -> None:
    with database.transaction() as session:
        first = tracked.register(session, store)
        tracked.point(session, "production", 1)
    mirror, asked = mirror_of(server.url, prefix="whole"), Asked(server.url, "whole")

    assert mirror.step() == 1
    (run,) = asked.runs()
    data, run_id = run["data"], run["info"]["run_id"]
    assert (run["info"]["status"], run["info"]["run_name"]) == ("FINISHED", "boards/1")
    assert pairs(data["params"])["epochs"] == "3"
    assert pairs(data["params"])["lineage.seed"] == "7"
    metrics = pairs(data["metrics"])
    assert metrics["map50"] == 0.5
    assert metrics["openvino-int8-320x320/fps"] == 50.0
    assert asked.history(run_id, "train/metrics/mAP50") == [(1, 0.10), (2, 0.30)]
    tags = pairs(data["tags"])
    assert tags["argosy.version"] == "whole/boards/1"
    assert tags["argosy.dataset_digest"] == "d" * 64
    assert '"admitted": true' in tags["argosy.build.onnx-fp32-320x320"]
    assert asked.artifact(run, "results.csv") == tracked.RESULTS.encode()
    assert asked.artifact(run, "builds/onnx-fp32-320x320/manifest.json") == b'{"build": 2}'
    (model_version,) = asked.model_versions()
    assert model_version["run_id"] == run_id
    assert asked.aliases() == {"production": "1"}

    assert mirror.step() == 0
    # A hub that lost its rows (or crashed before it stored them) finds all of it again.
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM tracked_version")
    assert mirror_of(server.url, prefix="whole").step() == 1
    assert len(asked.runs()) == len(asked.model_versions()) == 1
    assert asked.history(run_id, "map50") == [(0, 0.5)]
    assert asked.history(run_id, "train/metrics/mAP50") == [(1, 0.10), (2, 0.30)]

    with database.transaction() as session:
        tracked.register(session, store, 2)
        tracked.point(session, "production", 2)
        tracked.point(session, "candidate", 2)
        rejected = tracked.build(
            first, "f" * 64, {**tracked.ONNX, "precision": "int8", "runtime_precision": "int8"},
            state="REJECTED", verdict={"admitted": False, "reasons": ["mAP50 fell by 0.2"]},
        )  # fmt: skip
        session.add(rejected)
    assert mirror.step() == 2
    runs = {pairs(r["data"]["tags"])["argosy.number"]: r for r in asked.runs()}
    assert sorted(runs) == ["1", "2"]
    told = pairs(runs["1"]["data"]["tags"])["argosy.build.onnx-int8-320x320"]
    assert '"state": "REJECTED"' in told and "mAP50 fell by 0.2" in told
    numbers = {pairs(v["tags"])["argosy.number"]: v["version"] for v in asked.model_versions()}
    assert asked.aliases() == {"production": numbers["2"], "candidate": numbers["2"]}
    assert mirror.step() == 0


def test_a_server_that_dies_in_the_middle_leaves_no_double(
    server: MlflowServer, database: Database, store: BlobStore, mirror_of: MirrorOf
) -> None:
    with database.transaction() as session:
        tracked.register(session, store)
    assert mirror_of(server.url, prefix="power").step() == 1
    with database.transaction() as session:
        tracked.register(session, store, 2)
        tracked.register(session, store, 3)
    server.stop()
    mirror = mirror_of(server.url, prefix="power")
    assert mirror.step() == 0
    failing = [row for row in rows(database) if row.failures]
    assert [row.version_id for row in failing] == [2, 3]
    assert all(row.failures == 1 and row.error for row in failing)

    server.start()
    asked = Asked(server.url, "power")
    # As a crash leaves it between a run's creation and the storing of its id.
    experiment = asked.runs()[0]["info"]["experiment_id"]
    half_tags = [
        {"key": "argosy.version", "value": "power/boards/2"},
        {"key": "argosy.weights_sha256", "value": f"{2:064d}"},
    ]
    made = httpx.post(
        f"{server.url}/api/2.0/mlflow/runs/create",
        json={"experiment_id": experiment, "tags": half_tags, "run_name": "boards/2"},
        timeout=20.0,
    ).json()["run"]["info"]["run_id"]
    assert mirror.step() == 2
    assert [row.error for row in rows(database)] == [None, None, None]
    assert rows(database)[1].run_id == made
    assert len(asked.runs()) == len(asked.model_versions()) == 3


def test_a_run_of_another_hub_is_left_alone(
    server: MlflowServer, database: Database, store: BlobStore, mirror_of: MirrorOf
) -> None:
    with database.transaction() as session:
        number_one = tracked.register(session, store)
    assert mirror_of(server.url, prefix="shared").step() == 1
    with database.transaction() as session:
        other = session.get(ModelVersion, number_one.id)
        assert other is not None
        other.weights_sha256 = "e" * 64
        session.add(other)
    assert mirror_of(server.url, prefix="shared").step() == 0
    assert "another hub mirrors here" in (rows(database)[0].error or "")
    assert (
        pairs(Asked(server.url, "shared").runs()[0]["data"]["tags"])["argosy.weights_sha256"]
        != "e" * 64
    )


def test_without_a_server_a_database_file_holds_the_same(
    tmp_path: Path, database: Database, store: BlobStore, mirror_of: MirrorOf
) -> None:
    with database.transaction() as session:
        version = tracked.register(session, store)
        tracked.point(session, "production", 1)
    file = tmp_path / "runs" / "mlflow.db"
    file.parent.mkdir()
    mirror = mirror_of(f"sqlite:///{file}")
    assert mirror.step() == 1
    assert mirror.step() == 0
    (row,) = rows(database)
    assert row.version_id == version.id and row.run_id and row.model_version == "1"
    kept = list(Path(f"{file}.artifacts").rglob("model-card.md"))
    assert [path.read_text() for path in kept] == ["# boards 1\n"]
    with database.reading() as session:
        assert session.get(Build, "f" * 64) is None
