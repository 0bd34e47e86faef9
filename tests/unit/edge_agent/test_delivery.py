from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from structlog.testing import capture_logs

from edge_agent.clock import Clock
from edge_agent.delivery import STAGE, Delivery
from edge_agent.errors import OutputError
from edge_agent.results import FrameResult
from tests.fixtures.seeing import Collected, result


def test_a_stage_adds_to_results_before_the_sinks_and_may_fail() -> None:
    def stage(given: FrameResult) -> FrameResult:
        if given.frame.index == 1:
            raise RuntimeError("fails on purpose")
        return replace(given, track_ids=np.array([given.frame.index], np.int32))

    sink = Collected()
    delivery = Delivery([sink], Clock(), stage)
    delivery.start()
    for index in range(3):
        delivery.put(result(index=index))
    delivery.finish(10)
    tracks = [r.track_ids if r.track_ids is None else r.track_ids.tolist() for r in sink.results]
    assert tracks == [[0], None, [2]]
    assert delivery.latest("cam") is sink.results[-1]
    assert delivery.errors() == {"collected": 0, STAGE: 1}


def test_without_a_stage_results_pass_as_they_are() -> None:
    sink = Collected()
    delivery = Delivery([sink], Clock())
    delivery.start()
    given = result()
    delivery.put(given)
    delivery.finish(10)
    assert sink.results == [given]
    assert sink.results[0] is given
    assert delivery.errors() == {"collected": 0}


def logged_of(errors: list[Exception | None]) -> list[Any]:
    """What is logged of a sink to which each of `errors` happens in turn."""
    left = iter(errors)

    class Disk(Collected):
        def take(self, result: FrameResult) -> None:  # noqa: ARG002
            error = next(left)
            if error is not None:
                raise error

    delivery = Delivery([Disk()], Clock())
    with capture_logs() as logs:
        delivery.start()
        for index in range(len(errors)):
            delivery.put(result(index=index))
        delivery.finish(10)
    return logs


def test_what_a_sink_says_of_its_disk_is_one_line_until_it_works_again() -> None:
    full = OutputError("out.jsonl: no space left; make room")
    logs = logged_of([full, full, OutputError("read-only"), None, None, full])
    assert [(e["log_level"], e["event"], e.get("error")) for e in logs] == [
        ("warning", "sink_failed", "out.jsonl: no space left; make room"),
        ("warning", "sink_failed", "read-only"),
        ("info", "sink_recovered", None),
        ("warning", "sink_failed", "out.jsonl: no space left; make room"),
    ]
    assert not any("exc_info" in entry for entry in logs)


def test_a_fault_of_ours_keeps_its_trace() -> None:
    fault = KeyError("x")
    [entry] = logged_of([fault, fault])
    assert (entry["log_level"], entry["exc_info"]) == ("error", fault)
