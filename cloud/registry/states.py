"""How a build moves after it was evaluated as shipped."""

from __future__ import annotations

from enum import Enum


class BuildState(str, Enum):
    EVALUATED = "EVALUATED"
    REJECTED = "REJECTED"


class BuildEvent(str, Enum):
    REJECT_REQUESTED = "reject_requested"
    REINSTATED = "reinstated"


BUILD_TABLE: dict[tuple[BuildState, BuildEvent], BuildState] = {
    (BuildState.EVALUATED, BuildEvent.REJECT_REQUESTED): BuildState.REJECTED,
    (BuildState.REJECTED, BuildEvent.REINSTATED): BuildState.EVALUATED,
}
