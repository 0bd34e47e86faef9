"""The learning slices behind their REST API, with the threads that work for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from cloud import answers
from cloud.access import service as access
from cloud.access.principal import PrincipalKind, Role
from cloud.annotation.router import router as annotation_router
from cloud.blobs.router import router as blobs_router
from cloud.blobs.store import BlobStore
from cloud.building.import_router import router as import_router
from cloud.building.router import router as building_router
from cloud.building.worker_desk import Desk
from cloud.building.worker_router import router as worker_router
from cloud.database import Database
from cloud.datasets.importer import Importer
from cloud.datasets.router import router as datasets_router
from cloud.evaluation.router import router as evaluation_router
from cloud.handlers import APART, handlers
from cloud.jobs.router import router as jobs_router
from cloud.jobs.runner import JobRunner
from cloud.promotion.router import router as promotion_router
from cloud.registry import service as registry
from cloud.registry.router import router as registry_router
from cloud.registry.service import OnBuildRegistered
from cloud.settings import BuildingSettings, Settings, TrainingSettings
from cloud.training.router import router as training_router
from cloud.training.runner import CHILD, TrainingRunner

DEADLINE_S = 240.0
ROUTERS = (
    blobs_router,
    jobs_router,
    annotation_router,
    datasets_router,
    registry_router,
    evaluation_router,
    building_router,
    import_router,
    worker_router,
    training_router,
    promotion_router,
)


@dataclass
class LearningHub:
    """A hub without fleet: `api` speaks as an administrator."""

    folder: Path
    database: Database
    store: BlobStore
    api: TestClient
    runner: TrainingRunner
    jobs: JobRunner
    token: str

    def get(self, path: str) -> Any:
        return self._answer("GET", path)

    def post(self, path: str, body: Any = None, status: int | None = None) -> Any:
        return self._answer("POST", path, body, status)

    def put(self, path: str, body: Any = None, status: int | None = None) -> Any:
        return self._answer("PUT", path, body, status)

    def _answer(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        response = self.api.request(method, f"/api/v1{path}", json=body)
        if status is not None:
            assert response.status_code == status, response.text
        else:
            assert response.is_success, response.text
        return response.json()

    def wait(self, path: str, until: Callable[[Any], bool], deadline_s: float = DEADLINE_S) -> Any:
        """What `path` answers once `until` holds for it."""
        deadline = time.monotonic() + deadline_s
        while not until(found := self.get(path)):
            assert time.monotonic() < deadline, f"{path} is still {found}"
            time.sleep(0.05)
        return found

    def import_folder(self, name: str, folder: Path, **body: Any) -> Any:
        """The ended import of `folder`."""
        started = self.post(f"/datasets/{name}/import", {"folder": str(folder), **body}, 202)
        return self.wait(
            f"/imports/{started['id']}", lambda i: i["state"] in ("SUCCEEDED", "FAILED")
        )

    def done(self, job_id: str, deadline_s: float = DEADLINE_S) -> Any:
        """The long job once it is over."""
        over = ("SUCCEEDED", "FAILED", "CANCELED")
        return self.wait(f"/jobs/{job_id}", lambda j: j["state"] in over, deadline_s)

    def ended(self, job_id: str) -> Any:
        """The training once it is over."""
        return self.wait(
            f"/training/jobs/{job_id}",
            lambda j: j["state"] in ("SUCCEEDED", "FAILED", "CANCELED"),
        )


@contextmanager
def learning_hub(
    folder: Path,
    *,
    hooks: tuple[OnBuildRegistered, ...] = (),
    child: tuple[str, ...] = CHILD,
    building: BuildingSettings | None = None,
) -> Iterator[LearningHub]:
    """A hub on the data in `folder`, which may be there from an earlier one."""
    settings = Settings(
        data_dir=folder,
        training=TrainingSettings(progress_every_s=0.1),
        building=building or BuildingSettings(latency_frames=3, robustness_images_max=3),
    )
    folder.mkdir(exist_ok=True)
    database = Database(settings.database_url)
    database.migrate()
    store = BlobStore(settings.blobs_dir, blob_bytes_max=2**30)
    runner = TrainingRunner(
        database,
        store,
        folder / "training",
        settings.training,
        hooks=hooks,
        building=settings.building,
        child=child,
    )
    desk = Desk()
    does = handlers(settings, hooks, desk)
    jobs = JobRunner(database, store, folder / "jobs", does, apart=APART)
    importer = Importer(database, store, on_imported=registry.ensure_model)
    app = FastAPI()
    answers.install(app)
    app.state.settings, app.state.database, app.state.blobs = settings, database, store
    app.state.importer, app.state.training, app.state.jobs = importer, runner, jobs
    app.state.desk = desk
    for router in ROUTERS:
        app.include_router(router, prefix="/api/v1")
    with database.transaction() as session:
        _row, token = access.issue(session, PrincipalKind.USER, "ada", Role.ADMINISTRATOR)
    importer.start()
    runner.start()
    jobs.start()
    try:
        with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as api:
            yield LearningHub(folder, database, store, api, runner, jobs, token)
    finally:
        jobs.stop()
        runner.stop()
        importer.stop()
        database.close()
