"""Each frame is counted to the build that had it, whatever is exchanged meanwhile."""

from __future__ import annotations

import threading
from collections import Counter, deque
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.ledger import ERROR, NO_MODEL, NOBODY, SUPERSEDED, Ledger
from edge_agent.observe.windows import WindowSink
from edge_agent.pipeline import Pipeline
from edge_agent.update.slot import Slot
from protocol.windows import WindowStats
from tests.fixtures.seeing import (
    FakeDetector,
    eventually,
    fake_bundle,
    from_memory,
    image,
    manifest,
    result,
)

WINDOW_S = 10.0
INCUMBENT, CANDIDATE, THIRD = "a" * 64, "b" * 64, "c" * 64
STEPS = ("capture", "overtake", "lease", "answer", "fail", "deliver", "tick")
EXCHANGES = (INCUMBENT, CANDIDATE, THIRD, NOBODY)
Emitted = tuple[str, str, str, float, float, WindowStats]


class Line:
    """One camera and its slot, step by step: frames wait, are leased, answered and delivered."""

    def __init__(self, serves: str = INCUMBENT) -> None:
        self.slot = Slot("tiny")
        self.ledger = Ledger(["cam"], {"cam": self.slot})
        self.emitted: list[Emitted] = []
        self.sink = WindowSink(WINDOW_S, self.ledger, lambda *window: self.emitted.append(window))
        self.now_s = 100.0
        self.waiting = 0
        self.leased: deque[str] = deque()
        self.answered: deque[str] = deque()
        self.charged: Counter[tuple[str, str]] = Counter()
        self._bundles = {d: None if d == NOBODY else fake_bundle(d) for d in EXCHANGES}
        self.exchange(serves)

    def exchange(self, digest: str) -> None:
        self.slot.exchange(self._bundles[digest])
        self.serves = digest

    def do(self, step: str) -> None:
        self.now_s += 0.1
        getattr(self, step)()

    def capture(self) -> None:
        self.ledger.captured("cam")
        self.charged[self.serves, "captured"] += 1
        self.waiting += 1

    def overtake(self) -> None:
        if self.waiting:
            self.waiting -= 1
            self.ledger.dropped("cam", SUPERSEDED)
            self.charged[self.serves, SUPERSEDED] += 1

    def lease(self) -> None:
        if self.waiting and self.serves == NOBODY:
            self.waiting -= 1
            self.ledger.dropped("cam", NO_MODEL, by=NOBODY)
            self.charged[NOBODY, NO_MODEL] += 1
        elif self.waiting:
            self.waiting -= 1
            self.leased.append(self.serves)

    def answer(self) -> None:
        if self.leased:
            self.answered.append(self.leased.popleft())
            self.ledger.inferred("cam")
            self.charged[self.answered[-1], "inferred"] += 1

    def fail(self) -> None:
        if self.leased:
            digest = self.leased.popleft()
            self.ledger.dropped("cam", ERROR, by=digest)
            self.charged[digest, ERROR] += 1

    def deliver(self) -> None:
        if self.answered:
            self.sink.take(result(digest=self.answered.popleft(), at_s=self.now_s))

    def tick(self) -> None:
        self.sink.tick(self.now_s)

    def see(self, frames: int, *, fails: bool = False) -> None:
        for _ in range(frames):
            for step in ("capture", "lease", "fail" if fails else "answer", "deliver"):
                self.do(step)

    def end(self) -> list[tuple[str, int, int, dict[str, int]]]:
        """Deliver what was answered; of each window who, captured, inferred, dropped."""
        while self.answered:
            self.do("deliver")
        self.sink.close()
        return [
            (digest[:1], s.frames_captured, s.frames_inferred, s.frames_dropped)
            for _, _, digest, _, _, s in self.emitted
        ]


def test_what_a_candidate_fails_before_its_first_answer_is_its_own() -> None:
    line = Line()
    line.see(10)
    line.exchange(CANDIDATE)
    line.see(100, fails=True)
    line.see(1)
    assert line.end() == [("a", 10, 10, {}), ("b", 101, 1, {ERROR: 100})]


def test_a_candidate_that_only_fails_has_a_window_from_the_exchange_to_the_way_back() -> None:
    line = Line()
    line.see(5)
    line.do("tick")
    line.exchange(CANDIDATE)
    line.see(3, fails=True)
    line.do("tick")
    exchanged_s = line.now_s
    line.see(2, fails=True)
    line.exchange(INCUMBENT)
    line.see(4)
    assert line.end() == [("a", 5, 5, {}), ("b", 5, 0, {ERROR: 5}), ("a", 4, 4, {})]
    [before, candidate, after] = line.emitted
    assert candidate[1] == "tiny"
    assert before[4] == candidate[3] == exchanged_s
    assert candidate[4] == after[3]


def test_a_candidate_that_is_too_slow_answers_for_what_it_lets_be_overtaken() -> None:
    line = Line()
    line.see(2)
    line.exchange(CANDIDATE)
    for step in ("capture", "lease", "capture", "overtake", "tick", "capture", "overtake"):
        line.do(step)
    line.exchange(INCUMBENT)
    line.do("tick")
    assert line.end() == [("a", 2, 2, {}), ("b", 3, 0, {SUPERSEDED: 2})]


def test_an_answer_that_comes_after_the_exchange_is_counted_to_who_gave_it() -> None:
    line = Line()
    line.see(1)
    for step in ("capture", "capture", "lease", "lease"):
        line.do(step)
    line.exchange(CANDIDATE)
    line.do("capture")
    line.do("tick")
    exchanged_s = line.now_s
    for step in ("fail", "answer", "deliver", "lease", "answer", "deliver"):
        line.do(step)
    assert [w[2] for w in line.emitted] == [INCUMBENT], "it waits no longer than for an answer"
    assert line.end() == [("a", 3, 2, {ERROR: 1}), ("b", 1, 1, {})]
    assert line.emitted[0][4] == line.emitted[1][3] == exchanged_s


def test_a_first_build_that_never_answers_has_windows_too() -> None:
    line = Line(NOBODY)
    for step in ("capture", "lease", "tick"):
        line.do(step)
    line.exchange(CANDIDATE)
    line.see(3, fails=True)
    line.do("tick")
    line.now_s += WINDOW_S
    line.do("tick")
    [(_, _, digest, start_s, end_s, _)] = line.emitted
    assert (digest, end_s) == (CANDIDATE, line.now_s)
    assert start_s == pytest.approx(line.now_s - WINDOW_S - 0.1)
    line.see(1, fails=True)
    assert line.end() == [("b", 4, 0, {ERROR: 3, NO_MODEL: 1}), ("b", 1, 0, {ERROR: 1})]


def test_while_nothing_serves_the_last_window_goes_on() -> None:
    line = Line()
    line.see(2)
    line.exchange(NOBODY)
    for step in ("capture", "lease", "tick", "capture", "lease"):
        line.do(step)
    assert line.end() == [("a", 4, 2, {NO_MODEL: 2})]


@given(st.lists(st.one_of(st.sampled_from(STEPS), st.sampled_from(EXCHANGES)), max_size=80))
def test_the_windows_of_each_build_add_up_to_what_it_had(steps: list[str]) -> None:
    line = Line()
    line.see(1)
    for step in steps:
        if step in EXCHANGES:
            line.exchange(step)
        else:
            line.do(step)
    line.end()
    counted: Counter[tuple[str, str]] = Counter()
    for _, _, digest, _, _, stats in line.emitted:
        counted[digest, "captured"] += stats.frames_captured
        counted[digest, "inferred"] += stats.frames_inferred
        counted.update({(digest, cause): n for cause, n in stats.frames_dropped.items()})
    # Nobody's frames are in the windows of whoever serves before or after.
    for (digest, kind), frames in line.charged.items():
        assert digest == NOBODY or counted[digest, kind] >= frames
    account = line.ledger.account("cam")
    assert sum(w[5].frames_captured for w in line.emitted) == account.captured
    assert sum(w[5].frames_inferred for w in line.emitted) == account.inferred
    assert sum((Counter(w[5].frames_dropped) for w in line.emitted), Counter()) == account.dropped
    spans = [(w[3], w[4]) for w in line.emitted]
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def _pipeline(
    slot: Slot, cameras: list[CameraSpec], frames: int
) -> tuple[Pipeline, Ledger, list[Emitted]]:
    ledger = Ledger([c.id for c in cameras], {c.id: slot for c in cameras})
    emitted: list[Emitted] = []
    pipeline = Pipeline(
        cameras,
        {"tiny": slot},
        [WindowSink(WINDOW_S, ledger, lambda *window: emitted.append(window))],
        ledger=ledger,
        clock=Clock(),
        rng=Random(1),
        open_source=from_memory([image()], frames),
    )
    return pipeline, ledger, emitted


def test_a_frame_that_fails_after_the_exchange_is_counted_to_who_had_it() -> None:
    slot, hold = Slot("tiny"), threading.Event()
    pipeline, _, emitted = _pipeline(slot, [CameraSpec("a", "m", "tiny")], 1)
    candidate = FakeDetector(fails=True, hold=hold)
    slot.exchange(LoadedBundle(CANDIDATE, manifest(), candidate))
    pipeline.start()
    eventually(lambda: candidate.running, "the candidate has the frame")
    slot.exchange(fake_bundle(INCUMBENT))
    hold.set()
    eventually(pipeline.ended, "the frame is accounted for")
    pipeline.stop()
    assert {(w[2], w[5].frames_dropped.get(ERROR)) for w in emitted} == {(CANDIDATE, 1)}


def test_in_the_pipeline_no_failure_of_a_candidate_is_the_incumbents() -> None:
    slot, cameras = Slot("tiny"), [CameraSpec(c, "m", "tiny", live=True) for c in ("a", "b")]
    pipeline, ledger, emitted = _pipeline(slot, cameras, 10**9)
    incumbent, candidate = fake_bundle(INCUMBENT), fake_bundle(CANDIDATE, fails=True)

    def fate(inferred: bool) -> int:
        accounts = [ledger.account(c.id) for c in cameras]
        return min(a.inferred if inferred else a.dropped.get(ERROR, 0) for a in accounts)

    slot.exchange(incumbent)
    pipeline.start()
    for _ in range(10):
        for bundle in (incumbent, candidate):
            slot.exchange(bundle)
            good = bundle is incumbent
            seen = fate(good)
            eventually(lambda good=good, seen=seen: fate(good) > seen + 5, "frames go on")  # type: ignore[misc]
    pipeline.stop()

    for camera in ("a", "b"):
        windows = [w for w in emitted if w[0] == camera]
        account, stats = ledger.account(camera), [w[5] for w in windows]
        assert sum(s.frames_captured for s in stats) == account.captured
        assert sum(s.frames_inferred for s in stats) == account.inferred
        assert sum((Counter(s.frames_dropped) for s in stats), Counter()) == account.dropped
        for _, _, digest, _, _, each in windows:
            assert not each.frames_inferred or digest == INCUMBENT
            assert ERROR not in each.frames_dropped or digest == CANDIDATE
        assert {w[2] for w in windows} == {INCUMBENT, CANDIDATE}
