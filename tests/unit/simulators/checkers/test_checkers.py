"""The checkers: they must find what is wrong, and nothing where nothing is."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.checkers import digests, frames, messages
from simulators.checkers.confusion import confusion, iou
from simulators.checkers.records import (
    Labelled,
    OutputFrame,
    Pair,
    TruthFrame,
    far_from,
    pair,
    read_outputs,
    read_truth,
)
from simulators.checkers.scoring import Case, score

BOX = (10.0, 10.0, 30.0, 30.0)
ELSEWHERE = (100.0, 100.0, 120.0, 130.0)


def found(number: int, digest: str = "a", at: float | None = None) -> Pair:
    frame_id = f"c-{number}"
    moment = number * 0.1 if at is None else at
    truth = TruthFrame("cam", frame_id, number, {}, (), moment)
    return Pair(truth, OutputFrame("cam", frame_id, moment, moment, digest, 1, 5.0, ()))


def test_a_swap_without_a_loss() -> None:
    accounts = frames.account([found(n, "a" if n < 50 else "b") for n in range(100)])
    assert (accounts.processed, accounts.dropped, accounts.dropped_in_swap) == (100, 0, 0)
    (swap,) = accounts.swaps
    assert (swap.from_digest, swap.to_digest) == ("a", "b")
    assert swap.gap_ms == pytest.approx(100)
    assert accounts.steady_gap_ms_p99 == pytest.approx(100)


def test_frames_lost_in_a_swap_are_found() -> None:
    numbers = [n for n in range(100) if n not in (49, 50, 51, 90)]
    accounts = frames.account([found(n, "a" if n < 50 else "b") for n in numbers])
    assert accounts.dropped == 4
    assert accounts.dropped_in_swap == 3
    assert accounts.swaps[0].gap_ms == pytest.approx(400)


def test_a_frame_seen_twice_is_found() -> None:
    assert frames.account([found(1), found(2), found(2, at=0.25), found(3)]).seen_twice == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_reached_by_its_share(values: list[float], q: float) -> None:
    at = frames.quantile(values, q)
    assert at in values
    assert sum(v <= at for v in values) >= q * len(values) - 1e-9


def test_frames_near_harvested_ones_are_left_out() -> None:
    kept = far_from([found(n) for n in range(20)], {"c-10"}, 3)
    assert [p.truth.frame_number for p in kept] == [*range(8), *range(13, 20)]


def test_messages_that_came_are_not_lost() -> None:
    key = ("d", "events", "e")
    accounts = messages.account(
        {key: messages.Issued(10, frozenset({9, 10}))}, {key: [(1, 5), (6, 6), (7, 7), (8, 8)]}
    )
    assert (accounts.lost, accounts.duplicates, accounts.waiting, accounts.stored) == (0, 0, 2, 8)


@given(st.sets(st.integers(1, 50)), st.sets(st.integers(1, 50)))
def test_every_missing_and_doubled_message_is_counted(gone: set[int], doubled: set[int]) -> None:
    key = ("d", "telemetry", "e")
    rows = [(n, n) for n in range(1, 51) if n not in gone]
    twice = [(n, n) for n in doubled - gone]
    accounts = messages.account({key: messages.Issued(50, frozenset())}, {key: rows + twice})
    assert (accounts.lost, accounts.duplicates) == (len(gone), len(twice))


def test_a_stream_that_never_arrived_is_lost() -> None:
    issued = {("d", "samples", "e"): messages.Issued(4, frozenset({4}))}
    assert messages.account(issued, {}).lost == 3


def test_builds_that_nobody_assigned_are_found() -> None:
    outputs = [found(n, d).output for n, d in enumerate("aabbc")]
    assert digests.unassigned(outputs, {"a", "b"}) == {"c": 1}
    late = digests.before_proof(outputs, {"a": 0.0, "b": 0.25})
    assert [(o.bundle_digest, o.frame_id) for o in late] == [("b", "c-2"), ("c", "c-4")]


def test_confusion_counts_hits_mistakes_misses_and_ghosts() -> None:
    truth = [Labelled(0, BOX), Labelled(1, ELSEWHERE)]
    seen = [Labelled(0, BOX, 0.9), Labelled(1, (200, 200, 220, 220), 0.8)]
    wrong = [Labelled(1, BOX, 0.9), Labelled(1, ELSEWHERE, 0.8)]
    matrix = confusion([(truth, seen), (truth, wrong)], 2)
    assert np.array_equal(matrix, [[1, 1, 0], [0, 1, 1], [0, 1, 0]])


boxes = st.tuples(*[st.floats(0, 50)] * 2, *[st.floats(51, 100)] * 2)


@given(boxes, boxes)
def test_iou_is_a_symmetric_share(
    a: tuple[float, float, float, float], b: tuple[float, float, float, float]
) -> None:
    assert 0 <= iou(a, b) <= 1 + 1e-9
    assert iou(a, b) == pytest.approx(iou(b, a))
    assert iou(a, a) == pytest.approx(1)


def test_logs_are_read_in_order_and_paired(tmp_path: Path) -> None:
    truth, output = tmp_path / "truth.jsonl", tmp_path / "out.jsonl"
    lines = [_truth_line(n) for n in range(4)]
    truth.write_text("\n".join(lines) + "\n" + '{"camera": "cut o')
    (tmp_path / "out.jsonl.2").write_text(_output_line(0) + "\n")
    (tmp_path / "out.jsonl.1").write_text(_output_line(1) + "\n")
    output.write_text(_output_line(3) + "\n")
    pairs = pair(read_truth(truth), read_outputs(output))
    assert [p.truth.frame_number for p in pairs] == [100, 101, 103]
    with pytest.raises(KeyError):
        pair([], read_outputs(output))


def test_the_hubs_own_program_scores(tmp_path: Path) -> None:
    cases = [
        Case("good", "1", (Labelled(0, BOX),), (Labelled(0, BOX, 0.9),)),
        Case("bad", "1", (Labelled(0, BOX),), (Labelled(0, ELSEWHERE, 0.9),)),
    ]
    from tests.unit.simulators.demo.synthetic import score_here

    scores = score(cases, tmp_path, score_here)
    assert scores["good"].map50 == pytest.approx(1, abs=0.01)
    assert scores["bad"].map50 == 0
    assert scores["good"].mean_confidence == pytest.approx(0.9)


def _truth_line(n: int) -> str:
    frame = {"camera": "cam", "connection": "c", "index": n, "frame_number": 100 + n}
    return json.dumps({**frame, "drift": {}, "boxes": [[0, *BOX]], "sent_at": float(n)})


def _output_line(n: int) -> str:
    frame = {"camera": "cam", "frame_id": f"c-{n}", "captured_at": n, "result_at": n + 0.1}
    build = {"bundle_digest": "a", "version": 1, "latency_ms": 3.0}
    seen = [{"class_id": 0, "confidence": random.random(), "box": list(BOX)}]
    return json.dumps({**frame, **build, "detections": seen})
