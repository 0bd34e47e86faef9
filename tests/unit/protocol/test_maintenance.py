"""Maintenance windows: open exactly after a time of their cron, right over moved clocks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.maintenance import check, is_open, next_opening
from protocol.messages import MaintenanceWindow

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Kolkata",
)
HOUR, DAY = 3600.0, 86_400.0


def window(cron: str, zone: str = "UTC", duration_s: float = HOUR) -> MaintenanceWindow:
    return MaintenanceWindow(cron=cron, duration_s=duration_s, time_zone=zone)


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, high).map(lambda step: f"*/{step}")
    lists = st.lists(number, min_size=1, max_size=3).map(lambda xs: ",".join(map(str, xs)))
    return st.one_of(st.just("*"), number.map(str), spans, steps, lists)


CRONS = st.tuples(field(0, 59), field(0, 23), field(1, 28), st.just("*"), field(0, 6)).map(" ".join)
WALLS = st.floats(unix("2023-01-01T00:00:00+00:00"), unix("2031-01-01T00:00:00+00:00"))
DURATIONS = st.floats(1.0, 2 * DAY)


def firings(cron: str, zone: str, start: float, end: float) -> list[float]:
    """The cron's times in (start, end], counted by the library from a day before."""
    begin = datetime.fromtimestamp(start - DAY, ZoneInfo(zone))
    found = []
    for time in CronSim(cron, begin):
        if time.timestamp() > end:
            break
        if time.timestamp() > start:
            found.append(time.timestamp())
    return found


@settings(max_examples=60, deadline=None)
@given(CRONS, st.sampled_from(ZONES), WALLS, DURATIONS)
def test_open_exactly_after_a_time_of_the_cron(
    cron: str, zone: str, wall: float, duration_s: float
) -> None:
    told = firings(cron, zone, wall - duration_s, wall)
    assert is_open(window(cron, zone, duration_s), wall) == bool(told)


@settings(max_examples=60, deadline=None)
@given(CRONS, st.sampled_from(ZONES), WALLS, DURATIONS)
def test_the_next_opening_is_the_first_open_moment(
    cron: str, zone: str, wall: float, duration_s: float
) -> None:
    opens = window(cron, zone, duration_s)
    at = next_opening(opens, wall)
    assert at is not None
    assert at >= wall
    assert is_open(opens, at)
    if at > wall:
        assert not is_open(opens, wall)
        assert not is_open(opens, at - 1)
        assert not is_open(opens, (wall + at) / 2)
        assert is_open(opens, at + duration_s / 2)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.text(max_size=40), st.floats())
def test_any_words_are_judged_and_never_raise(cron: str, zone: str, wall: float) -> None:
    told = MaintenanceWindow.model_construct(cron=cron, duration_s=60.0, time_zone=zone)
    said = check(told)
    assert said or next_opening(told, 1.8e9) is not None
    if said:
        assert not is_open(told, 1.8e9)
    is_open(told, wall)
    next_opening(told, wall)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("0123456789*/-,LW#MON ", min_size=1, max_size=8), min_size=5, max_size=5))
def test_what_passes_the_check_opens_some_day(fields: list[str]) -> None:
    told = MaintenanceWindow.model_construct(
        cron=" ".join(fields), duration_s=60.0, time_zone="Europe/Berlin"
    )
    if not check(told):
        assert next_opening(told, 1.79e9) is not None


@pytest.mark.parametrize(
    ("cron", "zone", "after", "opens"),
    [
        # Left out: at the moment when the clock has been moved.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00+01:00", "2026-03-29T03:00+02:00"),
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00-05:00", "2026-03-08T03:00-04:00"),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+10:30", "2026-10-04T02:30+11:00"),
        ("0 0 * * *", "America/Havana", "2026-03-07T12:00-05:00", "2026-03-08T01:00-04:00"),
        # Twice: at its first.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+02:00", "2026-10-25T02:30+02:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:31+02:00", "2026-10-26T02:30+01:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10+01:00", "2026-10-26T02:30+01:00"),
        ("30 1 * * *", "America/New_York", "2026-11-01T01:31-04:00", "2026-11-02T01:30-05:00"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05T01:46+11:00", "2026-04-06T01:45+10:30"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05T01:35+10:30", "2026-04-06T01:45+10:30"),
        # Each hour is by real time.
        ("0 * * * *", "Europe/Berlin", "2026-10-25T02:30+02:00", "2026-10-25T02:00+01:00"),
        ("0 * * * *", "Europe/Berlin", "2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"),
        # Usual days around them, and a leap day.
        ("0 2 * * 6", "Europe/Berlin", "2026-11-26T12:00+01:00", "2026-11-28T02:00+01:00"),
        ("0 2 * * 6", "America/New_York", "2026-07-01T12:00-04:00", "2026-07-04T02:00-04:00"),
        ("0 3 29 2 *", "UTC", "2026-03-01T00:00+00:00", "2028-02-29T03:00+00:00"),
    ],
)
def test_openings_where_clocks_are_moved(cron: str, zone: str, after: str, opens: str) -> None:
    told = window(cron, zone, duration_s=60.0)
    assert next_opening(told, unix(after)) == unix(opens)
    assert is_open(told, unix(opens))
    assert is_open(told, unix(opens) + 59.9)
    assert not is_open(told, unix(opens) + 60)


def test_a_window_lasts_real_time_over_a_moved_clock() -> None:
    nightly = window("0 1 * * *", "Europe/Berlin", 4 * HOUR)
    begins = unix("2026-10-25T01:00+02:00")
    assert is_open(nightly, begins + 4 * HOUR - 1)
    assert not is_open(nightly, begins + 4 * HOUR)
    assert begins + 4 * HOUR == unix("2026-10-25T04:00+01:00")


def test_a_window_longer_than_its_period_never_shuts() -> None:
    always = window("0 * * * *", "Europe/Berlin", 2 * HOUR)
    begins = datetime(2026, 10, 24, tzinfo=timezone.utc)
    for minutes in range(0, 3 * 24 * 60, 7):
        wall = (begins + timedelta(minutes=minutes)).timestamp()
        assert is_open(always, wall)
        assert next_opening(always, wall) == wall


@pytest.mark.parametrize(
    ("cron", "zone", "told"),
    [
        ("0 2 * *", "UTC", "five fields"),
        ("0 0 2 * * 6", "UTC", "five fields"),
        ("@daily", "UTC", "five fields"),
        ("60 2 * * *", "UTC", "Bad minute"),
        ("0 2 31 2 *", "UTC", "never comes: its months have no such day"),
        ("0 2 30 2 *", "UTC", "never comes: its months have no such day"),
        ("0 2 32 2 *", "UTC", "Bad day-of-month"),
        ("0 2 * FEBRUARY *", "UTC", "Bad month"),
        ("0 2 */20 * 1L", "UTC", "never comes"),
        ("0 2 * * *", "Mars/Olympus", "IANA name"),
        ("0 2 * * *", "localtime", "IANA name"),
        ("0 2 * * *", "right/Europe/Berlin", "IANA name"),
        ("0 2 * * *", "../../etc/passwd", "IANA name"),
        ("0 2 * * *", "Europe", "IANA name"),
        ("0 2 * * *", "+02:00", "IANA name"),
    ],
)
def test_nonsense_is_refused_with_a_remedy_and_never_opens(cron: str, zone: str, told: str) -> None:
    wrong = window(cron, zone)
    assert told in check(wrong)
    assert not is_open(wrong, 1.79e9)
    assert next_opening(wrong, 1.79e9) is None


@pytest.mark.parametrize("wall", [-1e18, 1e18, float("nan"), float("inf"), -1.0, 0.0, 2.5e11])
def test_any_clock_is_taken(wall: float) -> None:
    told = window("0 2 * * *", "Europe/Berlin")
    assert is_open(told, wall) in {True, False}
    next_opening(told, wall)


def test_good_windows_have_nothing_wrong() -> None:
    assert check(window("0 2 * * SAT", "Europe/Berlin")) == ""
    assert check(window("*/10 22-23 * 1-6,9 1-5", "America/Argentina/Buenos_Aires")) == ""
