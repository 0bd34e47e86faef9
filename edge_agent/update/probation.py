"""Whether a candidate that serves may stay, held against what the incumbent did before. Pure.

What is looked at: failed inferences, frames that stay unanswered, the rate, latency, and what
is found and with what confidence. Errors over their share end probation at once, and so does a
candidate that answers next to nothing. Of the rest
nothing counts that chance explains: a candidate differs where it is four standard errors apart
from the baseline. One that differs and is over a limit goes back when its time is over, and at
once where it is over the limit by two standard errors: so neither the first frames' noise nor
a model right at a limit is sent back in haste.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_agent.config import Limits
from edge_agent.observe.series import Series, difference_error, independent
from edge_agent.observe.service import BINS_PER_DECADE, ServiceFigures
from edge_agent.update.states import Outcome
from protocol.states import ExecutionEvent

APART, BEYOND = 4.0, 2.0
"""Standard errors: apart from the baseline to count at all, beyond the limit to count early."""

CERTAIN_BY_LUCK, END_BY_LUCK = 1e-4, 1e-3
"""How probable a run of empty frames may be, by the baseline, and still be called a fault."""

NEXT_TO_NOTHING = 0.5
"""The share of the answers that were due, below which there is nothing to wait for."""

EARLY_FRAMES = 2
"""Latency ends it early after so many times `probation_frames_min`: the first frames after an
exchange are slow for any model."""

LATENCY_BINS_MIN = 1.5
"""Latencies are in bins 26 % wide; what is less apart than this may be the same latency."""


@dataclass(frozen=True)
class SlotHealth:
    """Frames of a slot's cameras since the agent started."""

    captured: int = 0
    inferred: int = 0
    errors: int = 0

    def since(self, start: SlotHealth) -> SlotHealth:
        return SlotHealth(
            self.captured - start.captured,
            self.inferred - start.inferred,
            self.errors - start.errors,
        )

    @property
    def unanswered(self) -> int:
        """Frames that were overtaken, or that still wait."""
        return max(0, self.captured - self.inferred - self.errors)


@dataclass(frozen=True)
class Silence:
    """What came since the candidate's last answer: frames, and for how long."""

    frames: int = 0
    seconds: float = 0.0

    @property
    def is_kept(self) -> bool:
        """Whether an answer is due; the last frame may have come just now."""
        return self.frames > 1


@dataclass(frozen=True)
class Finding:
    """Something that speaks against the candidate.

    Attributes:
        certain: it ends probation before its time is up.
    """

    reason: str
    certain: bool


def judge_probation(  # noqa: PLR0917 - what a verdict rests on, in the order of its story
    seen: SlotHealth,
    candidate: ServiceFigures,
    baseline: ServiceFigures | None,
    elapsed_s: float,
    probation_s: float,
    limits: Limits,
    *,
    expected: float = 0.0,
    silence: Silence = Silence(),
) -> Outcome | None:
    """Whether probation is over, by what was seen since the exchange; None: not yet.

    `seen` and `candidate` count from the exchange on, `baseline` is the incumbent's right
    before it, None on a first install: then only errors and answers are judged. Figures are
    compared where both sides have `probation_frames_min` frames, and detections with those
    `expected` per frame by the candidate's own reference too: while the candidate alone
    lacks them it waits for more, `probation_idle_s` after its time at most. It passes only on
    an answer: where frames come and none is answered any more it waits, and goes back once
    that has lasted for `probation_answer_s`, as on a busy machine an answer may take its time.
    Without any frame it waits `probation_idle_s` longer and then passes: the golden frames have
    passed, and a dark camera says nothing of the model.
    """
    figures = _figures(seen, candidate, baseline)
    answered = seen.inferred + seen.errors
    if seen.errors and seen.errors > limits.probation_error_share_max * answered:
        return _back(f"{seen.errors} of {answered} inferences failed", figures)
    found = findings(seen, candidate, baseline, elapsed_s, limits, expected=expected)
    certain = [finding.reason for finding in found if finding.certain]
    if certain:
        return _back("; ".join(certain), figures)
    if elapsed_s < probation_s:
        return None
    if silence.is_kept:
        text = f"{silence.frames} frames came in {silence.seconds:.3g} s and none was answered"
        return _back(text, figures) if silence.seconds >= limits.probation_answer_s else None
    if candidate.frames:
        wait_s = limits.probation_idle_s if _lacks_frames(candidate, baseline, limits) else 0.0
        text = "; ".join(finding.reason for finding in found)
        passed = Outcome(reason=_uncompared(candidate, baseline, limits), figures=figures)
        verdict = _back(text, figures) if found else passed
    else:
        wait_s = limits.probation_idle_s
        verdict = Outcome(reason="no camera of the slot gave a frame", figures=figures)
    return verdict if elapsed_s >= probation_s + wait_s else None


def _lacks_frames(
    candidate: ServiceFigures, baseline: ServiceFigures | None, limits: Limits
) -> bool:
    """Whether there will be something to compare when the candidate has more frames."""
    known = baseline is not None and baseline.frames >= limits.probation_frames_min
    return known and candidate.frames < limits.probation_frames_min


def _uncompared(candidate: ServiceFigures, baseline: ServiceFigures | None, limits: Limits) -> str:
    """That a candidate passed without having been held against anything, in words; "" where it
    was, and where nothing served before."""
    if baseline is None or _enough(candidate, baseline, limits):
        return ""
    return (
        f"too little was seen to hold it against what served before: {candidate.frames} frames, "
        f"and {baseline.frames} before; limits.probation_frames_min is "
        f"{limits.probation_frames_min}"
    )


def _enough(candidate: ServiceFigures, baseline: ServiceFigures, limits: Limits) -> bool:
    return min(candidate.frames, baseline.frames) >= limits.probation_frames_min


def findings(
    seen: SlotHealth,
    candidate: ServiceFigures,
    baseline: ServiceFigures | None,
    elapsed_s: float,
    limits: Limits,
    *,
    expected: float = 0.0,
) -> list[Finding]:
    """What the candidate does worse than the baseline, over the limits."""
    if baseline is None or baseline.frames < limits.probation_frames_min:
        return []
    if candidate.frames < limits.probation_frames_min:
        few = _few_answers(seen, candidate, baseline, elapsed_s, limits)
        return [] if few is None else [few]
    rules = (
        _rate(seen, candidate, baseline, elapsed_s, limits),
        _latency(candidate, baseline, limits),
        _nothing_found(candidate, baseline)
        if not candidate.detections
        else _detections(candidate, baseline, limits, expected),
        _confidence(candidate, baseline, limits),
    )
    return [finding for finding in rules if finding is not None]


def _few_answers(
    seen: SlotHealth,
    candidate: ServiceFigures,
    baseline: ServiceFigures,
    elapsed_s: float,
    limits: Limits,
) -> Finding | None:
    """Too few answers to compare anything, where the baseline would have given enough of them to
    what came, at its pace. Certain where the first one had its time."""
    before_s = baseline.gap_s.mean
    if limits.probation_rate_share_min <= 0 or before_s <= 0:
        return None
    due = min(seen.captured, elapsed_s / before_s)
    if due < limits.probation_frames_min or candidate.frames >= NEXT_TO_NOTHING * due:
        return None
    text = (
        f"{candidate.frames} of {seen.captured} frames were answered, before it {due:.0f} would be"
    )
    return Finding(text, elapsed_s >= limits.probation_answer_s)


def _rate(
    seen: SlotHealth,
    candidate: ServiceFigures,
    baseline: ServiceFigures,
    elapsed_s: float,
    limits: Limits,
) -> Finding | None:
    """Fewer answers per second, where the model is why and not a camera or a line that rests.

    The model is why where frames were left unanswered, or, where a source waits for the model
    and loses none, where latency grew by at least half as much as the time between answers.
    """
    share = limits.probation_rate_share_min
    before_s = baseline.gap_s.mean
    left = seen.unanswered > (1 - share) * seen.captured
    now_s = candidate.gap_s.mean
    if left:
        # A model that answers no more leaves no gap behind it.
        now_s = max(now_s, elapsed_s / candidate.frames)
    if share <= 0 or before_s <= 0 or now_s * share <= before_s:
        return None
    growth = candidate.latency_ms.mean / max(baseline.latency_ms.mean, 1e-9) - 1
    if not left and growth < (now_s / before_s - 1) / 2:
        return None
    error_s = difference_error(candidate.gap_s, baseline.gap_s)
    if now_s - before_s <= APART * error_s:
        return None
    text = f"{1 / now_s:.3g} answers per second, {1 / before_s:.3g} before"
    if left:
        text += f" ({seen.unanswered} of {seen.captured} frames were not answered)"
    return Finding(text, now_s - before_s / share > BEYOND * error_s)


def _latency(candidate: ServiceFigures, baseline: ServiceFigures, limits: Limits) -> Finding | None:
    """p95 over its ratio at the end; early where the median is, which bursts do not move.

    As latencies are known to a bin, half of one is given away: with a ratio of 2.0 a doubling
    is always over, one and a half never.
    """
    apart = BINS_PER_DECADE * math.log10(limits.probation_latency_ratio_max) - 0.5
    middle, tail = (
        _slower(candidate, baseline, quantile, max(apart, LATENCY_BINS_MIN))
        for quantile in (0.5, 0.95)
    )
    certain = middle and candidate.frames >= EARLY_FRAMES * limits.probation_frames_min
    if not certain and not tail:
        return None
    now_ms, before_ms = candidate.p95_ms() or 0.0, baseline.p95_ms() or 0.0
    return Finding(f"p95 latency {now_ms:.3g} ms, {before_ms:.3g} ms before", certain)


def _slower(
    candidate: ServiceFigures, baseline: ServiceFigures, quantile: float, apart: float
) -> bool:
    """Whether the candidate's quantile lies `apart` bins over the baseline's, and so many more
    of its frames do than chance explains."""
    now_at, before_at = candidate.latency_bin(quantile), baseline.latency_bin(quantile)
    if now_at is None or before_at is None or now_at < before_at + apart:
        return False
    now, before = (side.slower_share(before_at + apart) for side in (candidate, baseline))
    correlation = max(candidate.latency_ms.correlation, baseline.latency_ms.correlation)
    variance = max(now * (1 - now), before * (1 - before))
    parts = (1 / independent(side.frames, correlation) for side in (candidate, baseline))
    # One frame more or less is always chance.
    return now - before > APART * max(math.sqrt(variance * sum(parts)), 1 / candidate.frames)


def _nothing_found(candidate: ServiceFigures, baseline: ServiceFigures) -> Finding | None:
    """No detection at all, for longer than the baseline's frames stayed empty by themselves.

    An empty belt stays empty for a while. How probable it is that so many frames stay empty
    follows from how often the baseline found something again after a frame without.
    """
    if not baseline.detections:
        return None
    again = _at_least(baseline.appearances, baseline.emptied) if baseline.emptied else 1.0
    luck = (1.0 - again) ** (candidate.emptied or candidate.frames)
    if luck > END_BY_LUCK:
        return None
    text = (
        f"nothing found in {candidate.frames} frames, before it something in "
        f"{baseline.confidence.count} of {baseline.frames}"
    )
    return Finding(text, luck <= CERTAIN_BY_LUCK)


def _at_least(hits: int, tries: int) -> float:
    """The share that is at least behind `hits` of `tries` (Wilson's bound, two errors)."""
    spread = 2.0 * math.sqrt(hits * (tries - hits) / tries + 1.0)
    return max(0.0, (hits + 2.0 - spread) / (tries + 4.0))


def _detections(
    candidate: ServiceFigures, baseline: ServiceFigures, limits: Limits, expected: float
) -> Finding | None:
    """Far more detections per frame, or far fewer. A camera that has come to see badly finds next
    to nothing: a candidate that finds what it did at its evaluation is what was wanted there."""
    ratio = limits.probation_detections_ratio_max
    now, before = candidate.per_frame.mean, baseline.per_frame.mean
    # Where the baseline found nothing, it may still find one in a third of as many frames.
    known = max(before, 3.0 / baseline.frames, expected)
    error = difference_error(candidate.per_frame, baseline.per_frame)
    if now > known * ratio and now - known > APART * error:
        certain = now - known * ratio > BEYOND * error
    elif now < before / ratio and before - now > APART * error:
        certain = before / ratio - now > BEYOND * error
    else:
        return None
    return Finding(f"{now:.3g} detections per frame, {before:.3g} before", certain)


def _confidence(
    candidate: ServiceFigures, baseline: ServiceFigures, limits: Limits
) -> Finding | None:
    """What is found is found with far less confidence; by frames that had something."""
    left, right = candidate.confidence, baseline.confidence
    if min(left.count, right.count) < limits.probation_frames_min:
        return None
    bound = right.mean * (1 - limits.probation_confidence_drop_max)
    error = difference_error(left, right)
    if left.mean >= bound or right.mean - left.mean <= APART * error:
        return None
    text = f"mean confidence {left.mean:.3g}, {right.mean:.3g} before"
    return Finding(text, bound - left.mean > BEYOND * error)


def _figures(
    seen: SlotHealth, candidate: ServiceFigures, baseline: ServiceFigures | None
) -> dict[str, float]:
    """The figures of a probation by name; a ratio is candidate to baseline, unknown is absent."""
    figures = {"probation_frames": float(seen.inferred), "probation_errors": float(seen.errors)}
    before = baseline or ServiceFigures()
    for name, now, then in (
        ("rate_fps", candidate.rate_fps, before.rate_fps),
        ("latency_p95_ms", candidate.p95_ms(), before.p95_ms()),
        ("confidence_mean", _mean(candidate.confidence), _mean(before.confidence)),
        ("detections_per_frame", candidate.detections_per_frame, before.detections_per_frame),
    ):
        if now is not None:
            figures[f"probation_{name}"] = now
            if then:
                figures[f"probation_{name}_ratio"] = now / then
    return figures


def _mean(series: Series) -> float | None:
    return series.mean if series.count else None


def _back(reason: str, figures: dict[str, float]) -> Outcome:
    return Outcome(ExecutionEvent.ROLLBACK_STARTED, reason, figures)
