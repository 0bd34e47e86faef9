"""How long an attempt and each of its states may last. Pure."""

from __future__ import annotations

from edge_agent.config import Limits
from edge_agent.update.states import FAILURE, Outcome, UpdateRecord
from protocol.states import BEFORE_EXCHANGE, ExecutionEvent, ExecutionState

S, E = ExecutionState, ExecutionEvent


def timer_s(record: UpdateRecord, limits: Limits) -> float | None:
    """How long the record's state may last while the agent runs (s); None once it is over."""
    desired, prepare_s = record.desired, limits.prepare_timeout_s
    shadow_s = 0.0 if desired.shadow is None else desired.shadow.duration_max_s
    answer_s = limits.probation_answer_s + limits.probation_idle_s
    return {
        S.QUEUED: limits.download_timeout_s,
        S.DOWNLOADING: limits.download_timeout_s,
        S.DOWNLOADED: prepare_s,
        S.VERIFIED: prepare_s,
        S.BUILDING: limits.engine_timeout_s + prepare_s,
        S.PROVING: limits.proof_timeout_s + prepare_s,
        # A verdict that is open at the end of its time waits for a person.
        S.SHADOWING: shadow_s + limits.hold_timeout_s,
        S.WAITING_WINDOW: limits.window_wait_s_max,
        S.PREPARED: limits.hold_timeout_s + limits.veto_s_max + _window_s(record, limits),
        S.SWAPPING: prepare_s,
        S.PROBATION: desired.probation_s + answer_s + prepare_s,
        S.COMMITTING: prepare_s,
        S.ROLLING_BACK: prepare_s,
    }.get(record.state)


def _window_s(record: UpdateRecord, limits: Limits) -> float:
    return 0.0 if record.desired.window is None else limits.window_wait_s_max


def expired(record: UpdateRecord, limits: Limits, spent_s: float) -> Outcome | None:
    """Whether the state's or the whole attempt's time is up. The whole one ends nothing that
    was exchanged: what comes then takes its own time."""
    if record.terminal:
        return None
    before = record.state in BEFORE_EXCHANGE
    event = E.TIMER_EXPIRED if before else FAILURE[record.state]
    why = f": {record.waiting}" if record.waiting else ""
    limit_s = timer_s(record, limits)
    if limit_s is not None and spent_s - record.entered_spent_s > limit_s:
        return Outcome(event, f"{record.state.value} took longer than {limit_s:g} s{why}")
    whole_s = record.desired.timeout_s or limits.update_timeout_s + _window_s(record, limits)
    if before and spent_s > whole_s:
        return Outcome(event, f"the attempt took longer than {whole_s:g} s{why}")
    return None
