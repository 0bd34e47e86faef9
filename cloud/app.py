"""Composition root of the hub: what there is, wired by explicit lists.

`create_app` opens the database and the blobs and includes the routers; broker, ingress
and background loops run for the lifespan of the application.
"""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from cloud import errors
from cloud.access.router import router as access_router
from cloud.blobs.router import router as blobs_router
from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.fleet.router import router as fleet_router
from cloud.settings import Settings

API_PREFIX = "/api/v1"
ROUTERS: tuple[APIRouter, ...] = (access_router, blobs_router, fleet_router)


def create_app(settings: Settings) -> FastAPI:
    """The hub as an application; its schema is brought up to date first."""
    app = FastAPI(title="Argosy", version="0.1.0")
    errors.install_handlers(app)
    app.state.settings = settings
    app.state.database = open_database(settings)
    app.state.blobs = BlobStore(
        settings.blobs_dir, blob_bytes_max=settings.limits.blob_bytes_max
    )
    for router in ROUTERS:
        app.include_router(router, prefix=API_PREFIX)
    return app


def open_database(settings: Settings) -> Database:
    """The hub's database at the newest schema."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(
        settings.database_url,
        busy_timeout_ms=settings.limits.database_busy_timeout_ms,
        connections_max=settings.limits.database_connections_max,
    )
    database.migrate()
    return database
