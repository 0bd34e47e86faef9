"""The hub as a FastAPI application: routers by explicit list, one shape of error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool

from cloud import answers
from cloud.access.router import router as access_router
from cloud.annotation.router import router as annotation_router
from cloud.blobs.router import router as blobs_router
from cloud.building.import_router import router as import_router
from cloud.building.router import router as building_router
from cloud.building.worker_router import router as worker_router
from cloud.datasets.router import router as datasets_router
from cloud.evaluation import service as evaluation
from cloud.evaluation.archived import EvaluationPart
from cloud.evaluation.router import router as evaluation_router
from cloud.fleet.router import router as fleet_router
from cloud.health import router as health_router
from cloud.hub import Hub
from cloud.jobs.router import router as jobs_router
from cloud.promotion.archived import EvidencePart
from cloud.promotion.router import router as promotion_router
from cloud.registry.router import router as registry_router
from cloud.rollouts.evidence.router import router as rollout_evidence_router
from cloud.rollouts.router import router as rollouts_router
from cloud.settings import Settings
from cloud.telemetry.router import router as telemetry_router
from cloud.telemetry.schemas import LinkView
from cloud.tracking.router import router as tracking_router
from cloud.training.router import router as training_router

API_PREFIX = "/api/v1"
ROUTERS: tuple[APIRouter, ...] = (
    access_router,
    blobs_router,
    jobs_router,
    fleet_router,
    annotation_router,
    datasets_router,
    registry_router,
    evaluation_router,
    building_router,
    worker_router,
    import_router,
    training_router,
    promotion_router,
    tracking_router,
    telemetry_router,
    rollouts_router,
    rollout_evidence_router,
)


def create_app(settings: Settings) -> FastAPI:
    """An application that starts its hub with its lifespan, and stops it."""
    hub = Hub(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(hub.start)
        try:
            yield
        finally:
            await run_in_threadpool(hub.stop)

    app = application(hub)
    app.router.lifespan_context = lifespan
    return app


def application(hub: Hub) -> FastAPI:
    """The HTTP side of `hub`, whose start and stop are the caller's."""
    # The description of the API is no more public than its health; see `health`.
    app = FastAPI(title="Argosy", version="0.1.0", openapi_url=None)
    answers.install(app)
    state = app.state
    state.hub, state.settings, state.database = hub, hub.settings, hub.database
    state.blobs, state.counters, state.samples = hub.blobs, hub.counters, hub.samples
    state.importer, state.training, state.jobs = hub.importer, hub.training, hub.jobs
    state.desk = hub.desk
    state.archive_parts = (EvaluationPart(), EvidencePart())
    state.on_version_deleted = (evaluation.delete_of,)
    state.link = LinkView(
        mqtt_host=hub.address.host,
        mqtt_port=hub.address.port,
        root=hub.settings.mqtt.root,
        tls=hub.address.tls,
    )
    app.include_router(health_router)
    for router in ROUTERS:
        app.include_router(router, prefix=API_PREFIX)
    return app
