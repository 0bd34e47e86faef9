"""One slot's shadow: begins it, asks it for its verdict, and says what that means."""

from __future__ import annotations

from collections.abc import Mapping

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.update.shadow import Judgement, judge
from edge_agent.update.shadowing import END_TIMEOUT_S, Shadowing
from edge_agent.update.states import Outcome, UpdateRecord
from protocol.messages import ShadowPolicy
from protocol.states import ExecutionEvent, Verdict

INCONCLUSIVE = "shadow_inconclusive"
"""The figure that is 1 where the time is up, the verdict open, and a person is asked."""


class Comparing:
    """Uses the agent's one `Shadowing` for one slot. Used by the agent's thread."""

    def __init__(self, slot: str, shadowing: Shadowing) -> None:
        self._slot, self._shadowing = slot, shadowing
        self._began: float | None = None
        self._open: Judgement | None = None
        self._seeing: LoadedBundle | None = None
        self._hung: LoadedBundle | None = None
        self._blind_since: float | None = None

    def go_on(
        self, candidate: LoadedBundle, record: UpdateRecord, policy: ShadowPolicy, now: float
    ) -> Outcome | None:
        """Compare until there is a verdict, or a person has said what to do without one."""
        self._blind_since = None
        if self._open is None:
            if self._began is None:
                self._began, self._seeing = now, candidate
                self._shadowing.begin(self._slot, candidate, policy)
            counts = self._shadowing.counts(self._slot)
            if counts is None:
                return None
            judgement = judge(policy, counts)
            asked = record.figures.get(INCONCLUSIVE, 0.0) > 0 and policy.accepted
            over = asked or now - self._began >= policy.duration_max_s
            if judgement.verdict is Verdict.INCONCLUSIVE and not over:
                return None
            self.end()
            if not self.free(candidate):
                text = f"in shadow: it did not come back from a frame in {END_TIMEOUT_S:g} s"
                return Outcome(ExecutionEvent.REFUSED, text, judgement.figures)
            self._open = judgement
        return outcome_of(self._open, policy)

    def blind(self, now: float, wait_s: float) -> Outcome:
        """Nothing serves. What did may be under repair, and is waited for; after `wait_s` the
        candidate goes on without a comparison, for a blind line helps nobody."""
        if self._blind_since is None:
            self._blind_since = now
        if now - self._blind_since < wait_s:
            text = "nothing serves to compare with; what did may be repaired yet"
            return Outcome(reason=text, note=True)
        return Outcome(None, "there is nothing to compare with", {"shadow_skipped": 1.0})

    def end(self) -> None:
        """Stop comparing; the candidate is used no more when this returns, if it is `free`."""
        self._open = self._blind_since = None
        if self._began is not None:
            self._began = None
            seeing, self._seeing = self._seeing, None
            if not self._shadowing.end(self._slot):
                self._hung = seeing

    def free(self, candidate: LoadedBundle) -> bool:
        """Whether `candidate` may be closed. One that hangs in a frame must not: its memory is
        lost until the agent starts again."""
        return candidate is not self._hung


def outcome_of(judgement: Judgement, policy: ShadowPolicy) -> Outcome:
    """What a verdict means at the end of the shadow's time. Pure."""
    figures: Mapping[str, float] = judgement.figures
    if judgement.verdict is Verdict.PASS:
        return Outcome(figures=figures)
    if judgement.verdict is Verdict.FAIL:
        return Outcome(ExecutionEvent.REFUSED, f"in shadow: {judgement.reason}", figures)
    if policy.accepted:
        return Outcome(reason="a person accepted it", figures={**figures, INCONCLUSIVE: 0.0})
    text = f"the shadow is inconclusive and a person decides: {judgement.reason}"
    return Outcome(reason=text, figures={**figures, INCONCLUSIVE: 1.0}, note=True)
