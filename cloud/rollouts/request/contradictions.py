"""What in a specification contradicts itself, whatever devices there are. Pure.

Each check raises ValueError with the field's name and the remedy. Checks that need the devices
are in `targeting`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cloud.plain_text import one_line, plain

if TYPE_CHECKING:
    from cloud.rollouts.request.spec import ErrorThreshold, RolloutCreate, WaveAsked

WHOLE = 100.0
WINDOW_S_MIN = 60.0
"""Crons name minutes; within less, a device that is busy would miss it."""
ENDING = frozenset({"abort", "revert"})


def check(asked: RolloutCreate) -> None:
    """Raises ValueError on the first contradiction."""
    _check_texts(asked)
    check_percents(asked.waves)
    _check_timers(asked)
    _check_window(asked)
    _check_attempts(asked)
    _check_errors(asked.errors)
    _check_gates(asked)
    if asked.continuous and asked.devices is not None:
        raise ValueError(
            "continuous: devices names the only ones there will be; give a selector instead, or "
            "leave continuous out"
        )


def _check_texts(asked: RolloutCreate) -> None:
    """What is shown in terminals and pages does nothing to them."""
    waves = [(f"waves.{n}.selector", wave.selector or "") for n, wave in enumerate(asked.waves)]
    for field, text in (("name", asked.name), ("selector", asked.selector), *waves):
        _check_text(field, text, one_line)
    _check_text("remark", asked.remark, plain)


def _check_text(field: str, text: str, check: Callable[[str], str]) -> None:
    try:
        check(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}; take it out") from error


def check_percents(waves: Sequence[WaveAsked]) -> None:
    """Percents count all devices so far: they rise, and the last one is of all."""
    reached, last = 0.0, None
    for number, wave in enumerate(waves):
        if wave.percent is None:
            continue
        if wave.percent <= reached:
            raise ValueError(
                f"waves.{number}.percent: {wave.percent:g} is not above {reached:g}, which an "
                "earlier wave reaches; percents count all devices so far: let them rise"
            )
        reached, last = wave.percent, number
    if last is not None and reached < WHOLE:
        raise ValueError(
            f"waves.{last}.percent: {reached:g} is the last percentage and does not reach 100; "
            "add a wave of percent 100"
        )


def _check_timers(asked: RolloutCreate) -> None:
    shadow_s = asked.shadow.duration_max_s if asked.shadow else 0.0
    total = f"total_timeout_s: {asked.total_timeout_s:g}"
    if asked.total_timeout_s <= shadow_s:
        raise ValueError(
            f"{total} would end devices in their shadow of up to {shadow_s:g} s; raise it or "
            "lower shadow.duration_max_s"
        )
    if asked.timeout_s is not None and asked.timeout_s <= shadow_s:
        raise ValueError(
            f"timeout_s: {asked.timeout_s:g} would end devices in their shadow of up to "
            f"{shadow_s:g} s; raise it or lower shadow.duration_max_s"
        )
    if asked.timeout_s is not None and asked.timeout_s > asked.total_timeout_s:
        raise ValueError(
            f"timeout_s: {asked.timeout_s:g} is above total_timeout_s "
            f"({asked.total_timeout_s:g}), by which the hub ends a device; lower it"
        )
    if asked.total_timeout_s < asked.step_timeout_s:
        raise ValueError(
            f"{total} is below step_timeout_s ({asked.step_timeout_s:g}); raise it or lower "
            "step_timeout_s"
        )
    if asked.step_timeout_s <= asked.probation_s:
        raise ValueError(
            f"step_timeout_s: {asked.step_timeout_s:g} would end devices in their probation of "
            f"{asked.probation_s:g} s; raise it or lower probation_s"
        )


def _check_window(asked: RolloutCreate) -> None:
    """A device exchanges its build within the window, and sees there whether it serves."""
    if asked.window is None:
        return
    duration_s, field = asked.window.duration_s, "window.duration_s"
    if duration_s < WINDOW_S_MIN:
        raise ValueError(
            f"{field}: {duration_s:g} is too short for a device to notice it; "
            f"raise it to {WINDOW_S_MIN:g} or above"
        )
    if duration_s <= asked.probation_s:
        raise ValueError(
            f"{field}: {duration_s:g} is over before the probation of {asked.probation_s:g} s, and "
            "a build that fails it would be taken back outside the window; raise it or lower "
            "probation_s"
        )


def _check_attempts(asked: RolloutCreate) -> None:
    attempts = asked.retries.count + 1
    if attempts > asked.attempts_max:
        raise ValueError(
            f"attempts_max: {asked.attempts_max} is below the {attempts} attempts that "
            f"retries.count {asked.retries.count} allows; raise it to {attempts} or lower "
            "retries.count"
        )


def _check_gates(asked: RolloutCreate) -> None:
    gates, waves = asked.gates, asked.waves
    if gates is None:
        said = [n for n, wave in enumerate(waves) if "gated" in wave.model_fields_set]
        held = [number for number in said if waves[number].gated]
        # A rollout that is written out says all of its fields, and that its gates are null.
        if held and "gates" not in asked.model_fields_set:
            raise ValueError(
                f"waves.{held[0]}.gated: there are no gates that could hold it; add "
                "`gates: {}` (--gates on), or take `gated` away"
            )
        return
    if gates.confidence_harm_min < gates.confidence_drop_max:
        raise ValueError(
            f"gates.confidence_harm_min: {gates.confidence_harm_min:g} would tell harm of a fall "
            f"that confidence_drop_max ({gates.confidence_drop_max:g}) allows; raise it to "
            f"{gates.confidence_drop_max:g} or above"
        )
    if 0 < gates.deadline_s < gates.every_s:
        raise ValueError(
            f"gates.every_s: {gates.every_s:g} leaves no time for a second look before a person "
            f"is asked, after {gates.deadline_s:g} s; lower it or raise deadline_s"
        )


def _check_errors(errors: Sequence[ErrorThreshold]) -> None:
    for number, threshold in enumerate(errors):
        if threshold.percent >= WHOLE:
            raise ValueError(
                f"errors.{number}.percent: more than {threshold.percent:g} % never come; lower it"
            )
        for earlier, other in enumerate(errors[:number]):
            _check_pair((earlier, other), (number, threshold))


def _check_pair(first: tuple[int, ErrorThreshold], second: tuple[int, ErrorThreshold]) -> None:
    """Two thresholds must not answer the same with different reactions, and what ends the
    rollout must not come before what would only pause it."""
    (one, left), (two, right) = first, second
    if left.then == right.then or not set(left.kinds) & set(right.kinds):
        return
    if (left.percent, left.executed_min) == (right.percent, right.executed_min):
        shared = ", ".join(sorted(set(left.kinds) & set(right.kinds)))
        raise ValueError(
            f"errors.{two}.then: at {right.percent:g} % of {shared} errors.{one} says "
            f"{left.then} and this says {right.then}; let one of them go, or change its percent"
        )
    if _comes_first(left, right):
        raise ValueError(_never(two, right, one, left))
    if _comes_first(right, left):
        raise ValueError(_never(one, left, two, right))


def _comes_first(ending: ErrorThreshold, milder: ErrorThreshold) -> bool:
    """Whether `ending` has ended the rollout whenever `milder` would be passed."""
    return (
        ending.then in ENDING
        and milder.then not in ENDING
        and set(milder.kinds) <= set(ending.kinds)
        and ending.percent <= milder.percent
        and ending.executed_min <= milder.executed_min
    )


def _never(late: int, milder: ErrorThreshold, early: int, ending: ErrorThreshold) -> str:
    return (
        f"errors.{late}.percent: {milder.percent:g} is never reached, for errors.{early} ends the "
        f"rollout above {ending.percent:g}; lower it below that"
    )
