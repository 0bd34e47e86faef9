from __future__ import annotations

from pathlib import Path

from edge_agent.observe.hardware import capabilities, health
from protocol.builds import match
from tests.fixtures.seeing import manifest


def test_health_reads_what_is_there_and_leaves_the_rest_unknown(tmp_path: Path) -> None:
    now = health(tmp_path)
    assert now.rss_bytes is not None
    assert now.rss_bytes > 1_000_000
    assert now.disk_free_bytes is not None
    assert health(tmp_path / "not" / "there").disk_free_bytes is None


def test_this_machine_runs_the_builds_that_it_says_it_runs() -> None:
    me = capabilities()
    assert match(manifest().build, me).fits
    assert me.memory_bytes is not None
    newer = manifest().build.model_copy(update={"opset": 99})
    assert not match(newer, me).fits
