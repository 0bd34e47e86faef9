"""One slot's probation: what the candidate does, against what the incumbent did before it."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.config import Limits
from edge_agent.observe.service import ServiceFigures, ServiceSink
from edge_agent.update.probation import Silence, SlotHealth, judge_probation
from edge_agent.update.states import Outcome, UpdateRecord, attempt_key
from protocol.states import ExecutionEvent


class Watch:
    """Reads the figures around an exchange and judges by them. Used by the agent's thread."""

    def __init__(
        self,
        slot: str,
        service: ServiceSink,
        health: Callable[[], SlotHealth],
        running: Callable[[], str | None],
        limits: Limits,
        *,
        expected: Callable[[str], float] = lambda _digest: 0.0,
    ) -> None:
        self._slot, self._service, self._health = slot, service, health
        self._running, self._limits, self._expected = running, limits, expected
        self._expects = 0.0
        self._baseline: ServiceFigures | None = None
        self._health_before, self._served_before = SlotHealth(), ServiceFigures()
        self._began = 0.0
        self._answered = (0, 0, 0.0)  # answers so far; frames and time when the last one came
        self._waited_for: tuple[tuple[str, str], float] | None = None

    def lacks(self, record: UpdateRecord, incumbent: str | None, now: float) -> str:
        """Why an exchange should wait: too little is known of what serves to hold anything
        against it, as after a start; empty where it need not. A line that shows too little in
        `probation_idle_s` is exchanged all the same, as a dark camera says nothing of a model.
        """
        if incumbent is None:
            return ""
        frames, wanted = self._known(incumbent).frames, self._limits.probation_frames_min
        if frames >= wanted:
            return ""
        both = (incumbent, attempt_key(record.desired))
        if self._waited_for is None or self._waited_for[0] != both:
            self._waited_for = (both, now)
        if now - self._waited_for[1] >= self._limits.probation_idle_s:
            return ""
        return f"what serves is to be seen on {wanted} frames first, to be held against"

    def _known(self, incumbent: str) -> ServiceFigures:
        return self._service.recent(self._slot, incumbent)

    def before(self, incumbent: str | None) -> None:
        """An exchange comes: keep what the incumbent did of late."""
        self._baseline = None if incumbent is None else self._known(incumbent)

    def begin(self, digest: str, now: float) -> None:
        """The candidate serves from now on."""
        self._health_before = self._health()
        self._served_before = self._service.figures(self._slot, digest)
        self._began, self._expects = now, self._expected(digest)
        self._answered = (0, 0, now)

    def judge(self, record: UpdateRecord, now: float) -> Outcome | None:
        """Whether probation is over; None: not yet."""
        desired = record.desired
        if self._running() != desired.bundle_digest:
            text = "the slot does not run the candidate"
            return Outcome(ExecutionEvent.ROLLBACK_STARTED, text)
        seen = self._health().since(self._health_before)
        figures = self._service.figures(self._slot, desired.bundle_digest)
        figures = figures.since(self._served_before)
        return judge_probation(
            seen,
            figures,
            self._baseline,
            now - self._began,
            desired.probation_s,
            self._limits,
            expected=self._expects,
            silence=self._silence(figures.frames, seen.captured, now),
        )

    def _silence(self, answers: int, captured: int, now: float) -> Silence:
        """What came since the last answer. An answer that is new may be older than this look, and
        so is what came by then: a little less is taken for unanswered than was."""
        known, came, at = self._answered
        if answers != known:
            self._answered = (answers, captured, now)
            return Silence()
        return Silence(captured - came, now - at)
