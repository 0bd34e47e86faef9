from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_agent.clock import Clock
from edge_agent.delivery import STAGE, Delivery
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
