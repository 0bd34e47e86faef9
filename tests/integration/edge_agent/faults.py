"""The fault table: every state of an update, everything that can befall it, and what then.

What is expected is said here, from the design and not from the code. Three sentences make
the whole of it:

1.  What passes by itself (an error of the disk, a full one, a network, a broker or a hub that
    is away, a clock that is wrong) ends nothing: the attempt succeeds. Only an error in the
    two states where the candidate is being put in charge or on trial sends the slot back.
2.  A restart goes on where it was. Only where the candidate served on trial, or was just
    being exchanged, is it gone back upon, where there is something to go back to.
3.  Whatever came, ROLLING_BACK ends in ROLLED_BACK.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protocol.states import ExecutionState

S = ExecutionState
YEAR_S = 365 * 86_400


class Fault(str, Enum):
    """What befalls the agent in a state."""

    ERROR = "error"
    FULL = "full"
    FULL_RECORD = "full_record"
    FULL_DISK = "full_disk"
    KILL_BEFORE = "kill_before"
    KILL_PERSISTED = "kill_persisted"
    KILL_STEP = "kill_step"
    NETWORK = "network_gone"
    BROKER = "broker_restarted"
    HUB = "hub_silent"
    AHEAD = "clock_ahead"
    BACK = "clock_back"


KILLS = frozenset({Fault.KILL_BEFORE, Fault.KILL_PERSISTED, Fault.KILL_STEP})
FROM_OUTSIDE = frozenset({Fault.FULL_DISK, Fault.NETWORK, Fault.BROKER, Fault.HUB})
"""Those that the test makes while the agent stands still in the state."""

ON_TRIAL = frozenset({S.SWAPPING, S.PROBATION})
"""Where the candidate is being put in charge, or serves without being proven in service."""

WAY: tuple[ExecutionState, ...] = (
    S.QUEUED,
    S.DOWNLOADING,
    S.DOWNLOADED,
    S.VERIFIED,
    S.PROVING,
    S.SHADOWING,
    S.WAITING_WINDOW,
    S.PREPARED,
    S.SWAPPING,
    S.PROBATION,
    S.COMMITTING,
)
"""The way of an attempt that nothing befalls, where a policy asks for every state."""

STATES: tuple[ExecutionState, ...] = (*WAY[:4], S.BUILDING, *WAY[4:], S.ROLLING_BACK)
AFTER_PERSIST = frozenset({Fault.KILL_PERSISTED, Fault.KILL_STEP})


@dataclass(frozen=True)
class Case:
    """One fault in one state; `alone`: nothing was installed before."""

    state: ExecutionState
    fault: Fault
    alone: bool = False

    @property
    def name(self) -> str:
        return f"{self.state.value}-{self.fault.value}{'-alone' if self.alone else ''}"

    @property
    def kills(self) -> bool:
        return self.fault in KILLS

    def plan(self) -> str:
        """How the agent is told to fail."""
        point = f"update.{self.state.value}"
        own = {
            Fault.ERROR: f"{point}.step=error",
            Fault.FULL: f"{point}.step=full",
            Fault.FULL_RECORD: f"{point}.before=full",
            Fault.KILL_BEFORE: f"{point}.before=kill",
            Fault.KILL_PERSISTED: f"{point}.persisted=kill",
            Fault.KILL_STEP: f"{point}.step=kill",
            Fault.AHEAD: f"{point}.told=clock:{YEAR_S}",
            Fault.BACK: f"{point}.told=clock:-{YEAR_S}",
        }.get(self.fault, f"{point}.told=stall:0.4")
        # Nothing goes back by itself: an error on trial opens the way.
        return f"update.PROBATION.step=error,{own}" if self.state is S.ROLLING_BACK else own

    def restart_plan(self) -> str:
        """What the agent meets at its restart: a clock that has lost the time, and starts late."""
        return f"agent.start=clock:-{YEAR_S}" if self.fault is Fault.BACK else ""

    @property
    def point(self) -> str:
        """The point at which the fault comes."""
        return self.plan().rpartition(",")[2].partition("=")[0]


def killed_in(case: Case) -> ExecutionState:
    """The state that the disk holds after a kill: before it is persisted, the one before."""
    if case.fault is not Fault.KILL_BEFORE:
        return case.state
    before = {S.QUEUED: S.QUEUED, S.ROLLING_BACK: S.PROBATION, S.BUILDING: S.VERIFIED}
    short = [s for s in WAY if s not in (S.SHADOWING, S.WAITING_WINDOW) or s is case.state]
    return before.get(case.state) or short[short.index(case.state) - 1]


def final_state(case: Case) -> ExecutionState:
    """Where the attempt has to end."""
    if case.state is S.ROLLING_BACK:
        return S.ROLLED_BACK
    if case.kills:
        back = killed_in(case) in ON_TRIAL and not case.alone
        return S.ROLLED_BACK if back else S.SUCCEEDED
    if case.fault in (Fault.ERROR, Fault.FULL) and case.state in ON_TRIAL:
        return S.ROLLED_BACK
    return S.SUCCEEDED


def serves_after_kill(case: Case) -> str | None:
    """Who serves right after the restart: "incumbent", "candidate", or None: nobody yet."""
    state = killed_in(case)
    if state is S.COMMITTING:
        return "candidate"
    if not case.alone:
        return "incumbent"
    return "candidate" if state is S.PROBATION else None


def serves_at_end(case: Case) -> str | None:
    """Who serves when the attempt is over, as `serves_after_kill` says it."""
    if final_state(case) is S.SUCCEEDED:
        return "candidate"
    return None if case.alone else "incumbent"


def all_cases() -> list[Case]:
    """The whole table, and the first install, which has nothing to go back to."""
    table = [Case(state, fault) for state in STATES for fault in Fault]
    first = [S.PROVING, S.PREPARED, S.SWAPPING, S.PROBATION, S.COMMITTING]
    alone = [Case(state, fault, alone=True) for state in first for fault in sorted(KILLS)]
    to_nothing = [Case(state, Fault.ERROR, alone=True) for state in sorted(ON_TRIAL)]
    return table + alone + to_nothing


QUICK = frozenset(
    {
        "DOWNLOADING-kill_step",
        "DOWNLOADING-network_gone",
        "PROVING-error",
        "SHADOWING-kill_persisted",
        "WAITING_WINDOW-clock_ahead",
        "PREPARED-hub_silent",
        "SWAPPING-kill_persisted",
        "SWAPPING-full_record",
        "PROBATION-kill_step",
        "PROBATION-broker_restarted",
        "COMMITTING-kill_persisted",
        "COMMITTING-full_disk",
        "ROLLING_BACK-kill_step",
        "PROBATION-kill_step-alone",
    }
)
"""Those of the fast suite: each kind of fault, and the riskiest instants."""
