"""Whether what a rollout asks for can be had of the devices that it is meant for.

Each check raises InvalidError with the field's name and the remedy, before anything moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqlmodel import Session

from cloud.errors import InvalidError
from cloud.fleet import service as fleet
from cloud.fleet.devices import Listed
from cloud.fleet.selectors import Selector, fits
from cloud.rollouts.planning.pace import MINUTE_S, rate_per_minute
from cloud.rollouts.planning.views import PacePolicy
from cloud.rollouts.planning.waves import Target, Wave
from cloud.rollouts.request.contradictions import WHOLE
from cloud.rollouts.request.spec import RolloutCreate, WaveAsked, WindowAsked
from protocol import maintenance

NAMED_MAX = 5
LASTS_S_MAX = 365 * 86_400.0
"""A pace that takes longer was meant otherwise."""


def check_overlaps(
    waves: Sequence[Wave], targets: Iterable[Target], groups: Mapping[str, Selector]
) -> None:
    """No device fits the selectors of two waves."""
    chosen = [(n, wave.selector) for n, wave in enumerate(waves) if wave.selector is not None]
    if len(chosen) < 2:
        return
    shared: dict[tuple[int, int], list[str]] = {}
    for target in targets:
        there = [number for number, one in chosen if fits(one, target.attributes, groups)]
        if len(there) > 1:
            shared.setdefault((there[0], there[1]), []).append(target.device_id)
    for (first, second), ids in sorted(shared.items()):
        raise InvalidError(
            f"waves.{second}.selector: {some(ids)} fit waves.{first}.selector too",
            "let no device fit two waves: narrow one of them, as with key!=value",
        )


def check_sizes(asked: RolloutCreate, assigned: Sequence[Sequence[str]]) -> None:
    """Every wave that was asked for has a device, and thresholds ask for no more than there are.

    Where sites go whole, how large a wave becomes hangs on which sites are drawn first: one of a
    number or a percentage that comes to none by that is no fault of who asked.
    """
    total = sum(len(ids) for ids in assigned)
    for number, wave in enumerate(asked.waves):
        if assigned[number] or (asked.site_atomic and wave.selector is None):
            continue
        if wave.selector is not None:
            raise InvalidError(
                f"waves.{number}.selector: no remaining device fits {wave.selector}",
                "correct it, or put this wave before the ones that take its devices",
            )
        field, size = ("count", "") if wave.percent is None else ("percent", f"{wave.percent:g} ")
        raise InvalidError(
            f"waves.{number}.{field}: {size}comes to no device of {total}: the waves before it "
            "take as many",
            "leave the wave out, or let the ones before it take less",
        )
    for number, threshold in enumerate(asked.errors):
        if threshold.executed_min > total and not asked.continuous:
            raise InvalidError(
                f"errors.{number}.executed_min: {threshold.executed_min} is more than the {total} "
                "devices that are meant, so it would never count",
                f"lower it to {total} or below",
            )


def check_failures(asked: RolloutCreate, assigned: Sequence[Sequence[str]]) -> None:
    """A failure that is tolerated does not hold the next wave. Of the last one nothing more is
    asked than that it ends."""
    last = max(number for number, ids in enumerate(assigned) if ids)
    strict = [n for n, wave in enumerate(asked.waves[:last]) if wave.success_percent is None]
    if asked.failed_max and asked.success_percent >= WHOLE and strict:
        raise InvalidError(
            f"success_percent: {asked.success_percent:g} lets one failure pause the rollout after "
            f"wave {strict[0] + 1}, while failed_max tolerates {asked.failed_max}",
            "lower success_percent, as to 95, or set failed_max to 0",
        )


def check_gated(asked: RolloutCreate, waves: Sequence[WaveAsked]) -> None:
    """Gates hold one wave at least. `waves`: with the one of those that the others leave over."""
    if asked.gates is not None and not any(wave.gated for wave in waves):
        raise InvalidError(
            "gates: no wave is gated, so they would hold none",
            "take `gated: false` away from a wave, or leave gates out",
        )


def check_pace(asked: RolloutCreate, devices: int) -> None:
    """So many devices are started within a year."""
    if asked.pace is None:
        return
    pace = PacePolicy(**asked.pace.model_dump())
    started, minutes = 0, 0.0
    while started < devices and minutes * MINUTE_S <= LASTS_S_MAX:
        lot = min(pace.after_succeeded, devices - started)
        minutes += lot / rate_per_minute(pace, started)
        started += lot
    if minutes * MINUTE_S > LASTS_S_MAX:
        raise InvalidError(
            f"pace.base_per_minute: at {pace.base_per_minute:g} a minute {devices} devices take "
            "more than a year",
            "raise it: 1 is a device a minute, 0.1 one in ten minutes",
        )


def doubts(asked: RolloutCreate, assigned: Sequence[Sequence[str]], now: float) -> list[str]:
    """What can be meant, and seldom is: shown with the plan. `now`: Unix s."""
    devices, found = sum(map(len, assigned)), []
    if asked.failed_max is not None and asked.failed_max >= devices and not asked.continuous:
        found.append(
            f"failed_max: {asked.failed_max} tolerates the failure of all {devices} devices"
        )
    if asked.failed_max == 0 and any(error.then == "pause" for error in asked.errors):
        found.append(
            "errors: the first failure pauses before any share of them does, for failed_max is 0; "
            "raise it, or set it to null"
        )
    later = sum(map(bool, assigned)) > 1 or asked.pace is not None or asked.continuous
    closed_s = _closed_s(asked.window, now) if later and asked.window is not None else 0.0
    if closed_s >= asked.total_timeout_s:
        found.append(
            f"total_timeout_s: {asked.total_timeout_s:g} ends devices that begin when the window "
            f"has just closed, for {closed_s:.0f} s; raise it, or let all begin at once"
        )
    return found


def _closed_s(asked: WindowAsked, now: float) -> float:
    """How long the window stays closed after it has been open next."""
    window = asked.on_clock("UTC")
    opens = maintenance.next_opening(window, now)
    closes = now if opens is None else opens + asked.duration_s
    return (maintenance.next_opening(window, closes) or closes) - closes


def check_sites(
    asked: RolloutCreate, targets: Sequence[Target], assigned: Sequence[Sequence[str]]
) -> None:
    """With `site_atomic` no site is divided, and there is room for the largest one at once."""
    wave_of = {device_id: number for number, ids in enumerate(assigned) for device_id in ids}
    first: dict[str, Target] = {}
    sizes: Counter[str] = Counter()
    for target in targets:
        if target.site is None:
            continue
        sizes[target.site] += 1
        one = first.setdefault(target.site, target)
        if wave_of[one.device_id] != wave_of[target.device_id]:
            early = min(wave_of[one.device_id], wave_of[target.device_id])
            raise InvalidError(
                f"waves.{early}.selector: it divides site {target.site}: {one.device_id} and "
                f"{target.device_id} are in different waves, and site_atomic lets a site go whole",
                "let selectors of waves name whole sites, or leave site_atomic out",
            )
    if not sizes or asked.in_flight_max is None:
        return
    site, devices = max(sizes.items(), key=lambda item: (item[1], item[0]))
    if devices > asked.in_flight_max:
        raise InvalidError(
            f"in_flight_max: {asked.in_flight_max} is below the {devices} devices of site {site}, "
            "which go at one word with site_atomic",
            f"raise it to {devices} or above, or leave site_atomic out",
        )


def check_window(
    session: Session, asked: RolloutCreate, devices: Iterable[Listed], now: float
) -> None:
    """The window opens before a device that starts now is given up. `now`: Unix s."""
    if asked.window is None:
        return
    one_of_each_site = {device.site: device for device in devices}
    zones = {asked.window.time_zone} - {None} or {
        fleet.time_zone(session, device) for device in one_of_each_site.values()
    }
    for zone in sorted(filter(None, zones)):
        window = asked.window.on_clock(zone)
        opens = maintenance.next_opening(window, now)
        if opens is None:
            raise InvalidError(
                f"window.cron: {window.cron!r} never opens in {zone}", maintenance.EXAMPLE
            )
        for field in ("total_timeout_s", "timeout_s"):
            limit_s: float | None = getattr(asked, field)
            if limit_s is not None and opens - now >= limit_s:
                raise InvalidError(
                    f"{field}: {limit_s:g} ends devices before the window opens, "
                    f"in {opens - now:.0f} s ({zone})",
                    f"set {field} to more than that; left out, it allows for a window a week",
                )


def some(ids: Sequence[str]) -> str:
    """The first of them, in words."""
    more = len(ids) - NAMED_MAX
    return ", ".join(sorted(ids)[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
