"""The local pages: started beside the seeing, and never in its way."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from edge_agent.local.address import forget_address, write_address
from edge_agent.local.settings import LocalSection
from edge_agent.local.view import View

if TYPE_CHECKING:
    from edge_agent.local.listener import Listener

RETRY_S = 30.0

log = structlog.get_logger(__name__)


class LocalServer:
    """Serves `view` by HTTP from a thread of its own, and writes its address into `data_dir`.

    A port that is taken is logged and tried again; the agent goes on seeing.
    """

    def __init__(
        self, settings: LocalSection, data_dir: Path, view: View, retry_s: float = RETRY_S
    ) -> None:
        self._settings, self._data_dir, self._view = settings, data_dir, view
        self._retry_s = retry_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="local-pages", daemon=True)

    def start(self) -> None:
        """Begin to serve, unless the settings say not to."""
        if self._settings.enabled:
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        # Here, because the agent's first frame should not wait for an HTTP server's code.
        from edge_agent.local.listener import Listener
        from edge_agent.local.pictures import Pictures
        from edge_agent.local.requests import Desk

        settings = self._settings
        desk = Desk(
            view=self._view,
            settings=settings,
            pictures=Pictures(self._view, settings, time.monotonic),
            streams=threading.BoundedSemaphore(settings.streams_max),
            stopping=self._stopping,
        )
        told = ""
        while not self._stopping.is_set():
            try:
                listener = Listener(desk)
            except OSError as error:
                if str(error) != told:
                    told = str(error)
                    _warn(settings, error)
                self._stopping.wait(self._retry_s)
                continue
            with listener:
                self._listen(listener)

    def _listen(self, listener: Listener) -> None:
        write_address(self._data_dir, listener.url)
        log.info("local_pages_open", url=listener.url)
        try:
            while not self._stopping.is_set():
                listener.handle_request()
        finally:
            forget_address(self._data_dir)


def _warn(settings: LocalSection, error: OSError) -> None:
    log.warning(
        "local_pages_closed",
        host=settings.host,
        port=settings.port,
        error=error.strerror,
        remedy="another program has the port; give local.port another, or 0 for a free one",
    )
