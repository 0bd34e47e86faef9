"""When failures stop a rollout, and how. Pure."""

from __future__ import annotations

from cloud.rollouts.planning.tally import Tally
from cloud.rollouts.planning.views import Abort, ErrorPolicy, Pause, Policy
from cloud.rollouts.request.bodies import Reaction

Finding = tuple[Reaction, str]
"""What has to follow, and why."""

_STRENGTH: dict[Reaction, int] = {"pause": 0, "abort": 1, "revert": 2}


def exceeded(policy: Policy, tally: Tally) -> list[Finding]:
    """Every threshold that the devices' ends have passed."""
    found = [(error.then, said) for error in policy.errors if (said := _passes(error, tally))]
    if policy.failed_max is not None and tally.failed > policy.failed_max:
        said = f"{tally.failed} devices failed; {policy.failed_max} are tolerated"
        found.append(("pause", said))
    return found


def _passes(error: ErrorPolicy, tally: Tally) -> str:
    ended = sum(tally.failures[kind] for kind in error.kinds)
    if tally.executed < max(error.executed_min, 1) or ended * 100 <= error.percent * tally.executed:
        return ""
    kinds = ", ".join(sorted(error.kinds))
    return (
        f"{ended} of {tally.executed} devices ended in {kinds}; "
        f"{error.percent:g} % of at least {error.executed_min} are tolerated"
    )


def strongest(findings: list[Finding]) -> Pause | Abort | None:
    """What is done where several things ask for something: the most that any of them asks."""
    if not findings:
        return None
    then, reason = max(findings, key=lambda finding: _STRENGTH[finding[0]])
    return Pause(reason) if then == "pause" else Abort(reason, revert=then == "revert")
