"""Whether the hub lives, is ready, how it does and what it speaks.

/healthz, /readyz, /metrics and /openapi.json.

A caller on loopback needs no token, unless a proxy stands in front: then everybody seems
to be on loopback.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cloud.access import service as access
from cloud.access.principal import Role, require
from cloud.errors import StorageError, UnauthenticatedError
from cloud.fleet import service as fleet
from cloud.hub import Hub

router = APIRouter(tags=["health"])


def hub_of(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


HubDep = Annotated[Hub, Depends(hub_of)]


def _near_or_known(request: Request, hub: HubDep) -> None:
    """Raises UnauthenticatedError for a caller from elsewhere without a token."""
    host = request.client.host if request.client else ""
    if is_loopback(host) and not hub.settings.behind_tls_proxy:
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError("this needs a token off loopback", "send a viewer's token")
    with hub.database.reading() as session:
        require(access.authenticate(session, token), Role.VIEWER)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by a loopback address or name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@router.get("/healthz", dependencies=[Depends(_near_or_known)])
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", dependencies=[Depends(_near_or_known)])
def readyz(hub: HubDep) -> JSONResponse:
    """Database and broker link stand; 503 where one does not."""
    try:
        hub.database.ping()
        database = "ok"
    except StorageError as error:
        database = error.message
    broker = "ok" if hub.ingress.connected else "no link to the broker"
    ready = database == broker == "ok"
    body = {"ready": ready, "database": database, "broker": broker}
    return JSONResponse(body, status_code=200 if ready else 503)


@router.get("/openapi.json", dependencies=[Depends(_near_or_known)], include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """The API, described."""
    app: FastAPI = request.app
    return JSONResponse(app.openapi())


@router.get("/metrics", dependencies=[Depends(_near_or_known)])
def metrics(hub: HubDep) -> Response:
    """Figures for Prometheus."""
    registry = CollectorRegistry()
    registry.register(HubCollector(hub))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class HubCollector(Collector):
    """The hub's counts as Prometheus wants them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        outcomes = CounterMetricFamily(
            "argosy_ingest", "Messages and what became of them.", labels=["outcome"]
        )
        published = CounterMetricFamily("argosy_published", "Messages published.", labels=["kind"])
        published_bytes = CounterMetricFamily(
            "argosy_published_bytes", "Payload bytes published.", labels=["kind"]
        )
        families = {"published": published, "published_bytes": published_bytes}
        for name, number in sorted(self._hub.counters.snapshot().items()):
            family, _, kind = name.partition(".")
            if family in families:
                families[family].add_metric([kind], number)
            else:
                outcomes.add_metric([name], number)
        yield from (outcomes, published, published_bytes)
        yield GaugeMetricFamily(
            "argosy_ingest_queue", "Messages that wait to be stored.", self._hub.writer.depth
        )
        yield GaugeMetricFamily(
            "argosy_broker_link", "1 while linked to the broker.", int(self._hub.ingress.connected)
        )
        devices = GaugeMetricFamily("argosy_devices", "Devices.", labels=["presence"])
        with self._hub.database.reading() as session:
            for presence, count in sorted(fleet.count_by_presence(session).items()):
                devices.add_metric([presence], count)
        yield devices
