"""What keeps rollouts going: one loop, under a lease in the database."""

from __future__ import annotations

import time
import uuid

from sqlmodel import Session

from cloud.database import Database, after_commit
from cloud.loops import Loop
from cloud.rollouts import acting, service
from protocol.messages import ExecutionReport

LEASE_PERIODS = 10
STEPS_MAX = 1000


class Engine:
    """Looks at open rollouts every `period_s`, and at once when a device's report moved one.

    The lease outlives several periods, so that a second engine takes over only when this
    one is gone.
    """

    def __init__(self, database: Database, period_s: float) -> None:
        self._database = database
        self._lease_s = LEASE_PERIODS * period_s
        self._owner = uuid.uuid4().hex
        self.loop = Loop("rollouts", period_s, self._settle)

    def start(self) -> None:
        self.loop.start()

    def stop(self) -> None:
        self.loop.stop()

    def on_execution(
        self, session: Session, device_id: str, report: ExecutionReport, at: float
    ) -> None:
        """Take a device's report, and look once it is committed."""
        if service.on_execution(session, device_id, report, at):
            after_commit(session, self.loop.wake)

    def tick(self, now: float) -> bool:
        """One look at every rollout, a transaction each; True where something was done."""
        with self._database.reading() as session:
            due = acting.due(session, now)
        acted = False
        for rollout_id in due:
            with self._database.transaction() as session:
                if not acting.hold_lease(session, self._owner, now, self._lease_s):
                    return False
                acted |= bool(acting.step(session, rollout_id, now))
        return acted

    def _settle(self) -> None:
        """Look until nothing follows; the bound keeps a fault from becoming a busy loop."""
        for _ in range(STEPS_MAX):
            if not self.tick(time.time()):
                return
