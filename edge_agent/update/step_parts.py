"""What the steps of a slot are put together from, and how one that ran on a worker ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.config import Limits
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.update.acquire import Acquire
from edge_agent.update.comparing import Comparing
from edge_agent.update.deriving import Deriving
from edge_agent.update.exchange import Exchange
from edge_agent.update.judging import Judging
from edge_agent.update.load import Loader
from edge_agent.update.proving import Proving
from edge_agent.update.states import Outcome, UpdateRecord
from edge_agent.update.watch import Watch
from protocol.messages import SlotDesired


@dataclass(frozen=True)
class StepEnded:
    """A step that ran on a worker is over, perhaps with a bundle that it loaded."""

    slot: str
    token: int
    outcome: Outcome
    loaded: LoadedBundle | None = None


@dataclass(frozen=True)
class StepContext:
    """What the steps of all slots share.

    Attributes:
        submit: run a job on the updates' worker.
        renew: go on with another thread there, as the job that runs hangs.
        rescue: run a job at once, beside what the updates' worker is busy with.
        deliver: bring its end to the agent's thread.
        prune: remove the bundles that nothing pins.
        veto_until: until when a slot's attempt is vetoed at a time on the wall; None: it is not.
        damaged: a bundle on the disk is damaged, and is to be repaired; from any thread.
        left: whether a person left this very attempt before.
    """

    limits: Limits
    judging: Judging
    submit: Callable[[Callable[[], None]], None]
    renew: Callable[[], None]
    rescue: Callable[[Callable[[], None]], None]
    deliver: Callable[[StepEnded], object]
    prune: Callable[[], None]
    veto_until: Callable[[str, UpdateRecord, float], float | None]
    damaged: Callable[[str], None]
    left: Callable[[SlotDesired], bool]


@dataclass(frozen=True)
class SlotParts:
    """What the steps of one slot work with."""

    acquire: Acquire
    exchange: Exchange
    loader: Loader
    deriving: Deriving
    proving: Proving
    comparing: Comparing
    watch: Watch
