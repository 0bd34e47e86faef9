from __future__ import annotations

from edge_agent.observe.hardware import capabilities
from protocol.builds import match
from tests.fixtures.seeing import manifest


def test_this_machine_runs_the_builds_that_it_says_it_runs() -> None:
    me = capabilities()
    assert match(manifest().build, me).fits
    assert me.memory_bytes is not None
    newer = manifest().build.model_copy(update={"opset": 99})
    assert not match(newer, me).fits
