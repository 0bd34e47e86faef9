"""A minute of four cameras through the whole agent: no frame is lost sight of, and it ends."""

from __future__ import annotations

import pytest

from tests.benchmarks.soak import soak

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_every_frame_of_a_minute_is_accounted_for() -> None:
    soaked = soak(minutes=1.0)
    assert soaked.exit_status == 0
    assert soaked.windows_lost == 0
    assert {name: a.unaccounted for name, a in soaked.accounts.items()} == dict.fromkeys(
        ("stream-0", "stream-1", "file-2", "folder-3"), 0
    )
    for name, account in soaked.accounts.items():
        assert account.inferred > 100, f"{name} was hardly seen: {account}"
    assert len(soaked.samples) >= 10
