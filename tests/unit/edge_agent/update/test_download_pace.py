"""A download takes no more of the network than it may, and gets on all the same."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.download import Ask, Download, Timing
from edge_agent.update.download_pace import BURST_S, Bucket, Pace
from protocol.chunks import CHUNK_BYTES, from_ranges

SHA = "a" * 64
TIMING = Timing(stall_s=5, http_after_s=20)

RATES = st.integers(1_000, 10**8)
PIECES = st.integers(1, 10**6)


@given(
    rate=RATES,
    piece=PIECES,
    steps=st.lists(st.tuples(st.floats(0, 10), PIECES), max_size=50),
)
def test_over_any_time_no_more_comes_than_the_rate_one_bucket_and_one_piece(
    rate: int, piece: int, steps: list[tuple[float, int]]
) -> None:
    now, bucket = 0.0, Bucket.full(rate, piece, 0.0)
    took: list[tuple[float, int]] = []
    for passed, size in steps:
        now += passed
        if bucket.level(now) > 0:
            taken = min(size, piece)
            bucket = bucket.taken(taken, now)
            took.append((now, taken))
    for first in range(len(took)):
        total = 0
        for at, size in took[first:]:
            total += size
            assert total <= rate * (at - took[first][0] + BURST_S) + 2 * piece + 1


@given(rate=RATES, piece=PIECES, pieces=st.integers(2, 30))
def test_who_waits_as_told_is_as_quick_as_it_may(rate: int, piece: int, pieces: int) -> None:
    now, bucket = 0.0, Bucket.full(rate, piece, 0.0)
    for _ in range(pieces):
        wait = bucket.wait_s(now)
        now += wait
        assert bucket.level(now) > 0
        bucket = bucket.taken(piece, now)
    assert now <= pieces * piece / rate + pieces * 2e-3


def test_without_a_limit_nobody_waits() -> None:
    bucket = Bucket.full(0, 1, 0.0).taken(10**12, 0.0)
    assert math.isinf(bucket.level(0.0)) and bucket.wait_s(0.0) == 0.0
    assert Pace().pieces(0.0) is None


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    bucket = Bucket.full(100, 100, 50.0).taken(100, 50.0)
    assert bucket.level(10.0) == 0.0 and bucket.taken(0, 10.0).level(50.5) == 50.0


@given(chunks=st.integers(1, 60), rate=st.integers(20_000, 2_000_000))
def test_a_paced_download_asks_for_less_and_never_takes_its_own_pace_for_a_stall(
    chunks: int, rate: int
) -> None:
    pace, now = Pace(rate, CHUNK_BYTES), 0.0
    download = Download.begin({SHA: chunks}, {}, now)
    came = 0
    while not download.complete:
        ask = download.ask(now, TIMING, connected=True, chunks_max=pace.pieces(now))
        assert ask is not Ask.HTTP
        if ask is Ask.WANTS:
            wanted = from_ranges(download.ask_again(now, pace.pieces(now))[0].ranges)
            pace.spend(download.asked * CHUNK_BYTES, now)
            for index in wanted:
                assert download.accept(SHA, index, now)
            came += len(wanted)
            assert came * CHUNK_BYTES <= rate * (now + BURST_S) + CHUNK_BYTES
        now += 0.1
    assert now <= chunks * CHUNK_BYTES / rate + 0.1 * chunks + 1


def test_what_others_asked_for_counts_too() -> None:
    pace = Pace(CHUNK_BYTES, CHUNK_BYTES)
    assert pace.pieces(0.0) == 1
    pace.spend(3 * CHUNK_BYTES, 0.0)
    assert [pace.pieces(float(second)) for second in range(5)] == [0, 0, 0, 1, 1]


def test_a_lost_link_is_a_stall_at_any_pace() -> None:
    download = Download.begin({SHA: 3}, {}, 0.0)
    assert download.ask(20.0, TIMING, connected=False, chunks_max=0) is Ask.HTTP


def test_a_chunk_that_does_not_come_is_asked_for_again_when_it_may() -> None:
    download = Download.begin({SHA: 3}, {}, 0.0)
    assert download.ask_again(0.0, 2)[0].ranges == ((0, 2),)
    assert download.asked == 2
    assert not download.accept(SHA, 2, 1.0)
    assert download.accept(SHA, 0, 2.0)
    assert download.ask(7.0, TIMING, connected=True, chunks_max=0) is Ask.NOTHING
    assert download.ask(7.5, TIMING, connected=True, chunks_max=1) is Ask.WANTS
    assert download.ask_again(7.5, 1)[0].ranges == ((1, 2),)
