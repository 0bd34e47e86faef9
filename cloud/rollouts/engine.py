"""What keeps rollouts going: one loop, under a lease in the database."""

from __future__ import annotations

import time
import uuid

from sqlmodel import Session

from cloud.database import Database, after_commit
from cloud.loops import Loop
from cloud.rollouts import acting, floors, service
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
        self._floors = floors.FloorWatch()
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
        self._tell_floors(now)
        return acted

    def _tell_floors(self, now: float) -> None:
        """Bring models' floors into the desired states, while this engine has the lease."""
        with self._database.reading() as session:
            wanted = self._floors.asks(session, now)
            if wanted is None:
                return
            stale = floors.stale_devices(session, wanted)
        for start in range(0, len(stale), floors.DEVICES_AT_ONCE):
            with self._database.transaction() as session:
                if not acting.hold_lease(session, self._owner, now, self._lease_s):
                    return
                some = stale[start : start + floors.DEVICES_AT_ONCE]
                floors.spread(session, some, wanted)
        self._floors.looked(wanted, now)

    def _settle(self) -> None:
        """Look until nothing follows; the bound keeps a fault from becoming a busy loop."""
        for _ in range(STEPS_MAX):
            if not self.tick(time.time()):
                return
