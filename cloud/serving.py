"""Running a hub as a process: prepare the folder, start, say where, stop cleanly."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from cloud.access import service as access
from cloud.access.principal import PrincipalKind, Role
from cloud.app import application
from cloud.errors import ConfigurationError
from cloud.files import write_private
from cloud.health import is_loopback
from cloud.hub import Hub
from cloud.ports import remembered_port
from cloud.settings import Settings

ADMINISTRATOR = "administrator"
SHUTDOWN_S_MAX = 3


def initialise(settings: Settings) -> Hub:
    """The hub of a data folder, which is made where there is none.

    Database, signing keys and an administrator's token in `admin.token` are there
    afterwards.

    Raises:
        ConfigurationError: the folder cannot be used.
    """
    try:
        hub = Hub(settings)
        if not settings.admin_token_file.exists():
            with hub.database.transaction() as session:
                access.revoke_of(session, PrincipalKind.USER, ADMINISTRATOR)
                _, token = access.issue(
                    session, PrincipalKind.USER, ADMINISTRATOR, Role.ADMINISTRATOR
                )
            write_private(settings.admin_token_file, token + "\n")
        settings.admin_token_file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise ConfigurationError(
            f"the data folder {settings.data_dir} cannot be used: {error}",
            "give one that can be written to with --data",
        ) from error
    return hub


def serve(settings: Settings, announce: Callable[[dict[str, object]], None]) -> None:
    """Run the hub until SIGTERM or SIGINT; `announce` is told where it is once it is ready.

    Raises:
        ConfigurationError: it cannot run as configured, for instance as a port is taken.
    """
    check_exposure(settings)
    with held_alone(settings.data_dir), _listen(settings) as listener:
        hub = initialise(settings)
        hub.start()
        try:
            _run(hub, listener, announce)
        finally:
            settings.ready_file.unlink(missing_ok=True)
            hub.stop()


@contextmanager
def held_alone(data_dir: Path) -> Iterator[None]:
    """The data folder, made where it is missing, with its lock: one hub uses it at a time.

    The lock goes with the process, however that ends.

    Raises:
        ConfigurationError: it cannot be used, or another hub uses it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise ConfigurationError(
            f"the data folder {data_dir} cannot be used: {error}",
            "give one that can be written to with --data",
        ) from error
    with os.fdopen(descriptor, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"another hub uses {data_dir}", "stop it, or give this one another --data"
            ) from error
        yield


def check_exposure(settings: Settings) -> None:
    """Raises ConfigurationError where tokens would cross a network in the clear."""
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise ConfigurationError(
            "only one of tls_certificate and tls_key is set", "set both, or neither"
        )
    safe = settings.tls_certificate is not None or settings.behind_tls_proxy
    if not is_loopback(settings.host) and not safe:
        raise ConfigurationError(
            f"{settings.host} is not loopback and there is no TLS",
            "set tls_certificate and tls_key, or behind_tls_proxy where a proxy ends TLS",
        )


class _Server(uvicorn.Server):
    """Tells when it has begun to answer."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _run(hub: Hub, listener: socket.socket, announce: Callable[[dict[str, object]], None]) -> None:
    settings = hub.settings
    scheme = "https" if settings.tls_certificate else "http"
    host, port = listener.getsockname()[:2]
    place: dict[str, object] = {
        "url": f"{scheme}://{host}:{port}",
        "mqtt_host": hub.address.host,
        "mqtt_port": hub.address.port,
        "root": settings.mqtt.root,
        "pid": os.getpid(),
    }

    def on_ready() -> None:
        write_private(settings.ready_file, json.dumps(place) + "\n")
        announce(place)

    config = uvicorn.Config(
        application(hub),
        lifespan="off",
        log_level=logging.WARNING,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        timeout_graceful_shutdown=SHUTDOWN_S_MAX,
    )
    # uvicorn raises the signal that ended it once more; the hub still has to stop then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _Server(config, on_ready).run([listener])


def _listen(settings: Settings) -> socket.socket:
    port = remembered_port(settings.data_dir, "http", settings.port, settings.host)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, port))
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"{settings.host}:{port} cannot be listened on: {error.strerror}",
            "stop what listens there, or choose another with --port (0: any free one)",
        ) from error
    listener.set_inheritable(False)
    return listener
