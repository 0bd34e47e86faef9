"""The desired state on the disk, which the next start goes by until the hub is heard."""

from __future__ import annotations

import structlog

from edge_agent.report import DesiredState
from edge_agent.store import Store
from protocol.messages import Desired

NAME = "desired"

log = structlog.get_logger(__name__)


class KeptDesired:
    """The newest one: what the disk refuses it gets again at each tick."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unkept: Desired | None = None

    def load(self) -> Desired | None:
        found = self._store.load(NAME, DesiredState)
        return None if found is None else found.desired

    def keep(self, desired: Desired) -> None:
        """Raises OSError where the disk refuses; `tick` then tries again."""
        self._unkept = desired
        self._store.save(NAME, DesiredState(desired=desired))
        self._unkept = None

    def tick(self) -> None:
        if self._unkept is None:
            return
        try:
            self.keep(self._unkept)
        except OSError as error:
            log.debug("desired_not_persisted", error=str(error))
