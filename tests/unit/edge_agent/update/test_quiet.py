"""Loading at a low priority, and what it started back at the usual one."""

from __future__ import annotations

import os
import resource
import threading

import pytest

from edge_agent.update import quiet as module
from edge_agent.update.quiet import LOWEST, STEPS, may_raise_to, quiet


def nice_of(thread: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


def test_the_block_runs_low_and_its_threads_come_back() -> None:
    own, go = threading.get_native_id(), threading.Event()
    usual = nice_of(own)
    if not may_raise_to(usual):
        pytest.skip("this process may not raise a priority again: run as root or LimitNICE")
    beside = threading.Thread(target=go.wait)
    beside.start()
    with quiet() as lowered:
        assert lowered
        low = min(LOWEST, usual + STEPS)
        assert nice_of(own) == low
        started = threading.Thread(target=go.wait)
        started.start()
        assert started.native_id is not None
        assert nice_of(started.native_id) == low, "a thread inherits"
        assert beside.native_id is not None
        assert nice_of(beside.native_id) == usual, "nobody else is slowed"
    try:
        assert nice_of(own) == usual
        assert nice_of(started.native_id) == usual
    finally:
        go.set()
        started.join()
        beside.join()


def test_the_priority_comes_back_after_an_error() -> None:
    own = threading.get_native_id()
    usual = nice_of(own)

    def fail() -> None:
        with quiet():
            raise RuntimeError("the model does not load")

    with pytest.raises(RuntimeError):
        fail()
    assert nice_of(own) == usual


def test_without_the_right_to_come_back_nothing_is_lowered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (0, 0))
    own = threading.get_native_id()
    usual = nice_of(own)
    with quiet() as lowered:
        assert not lowered
        assert nice_of(own) == usual


@pytest.mark.parametrize(
    ("ceiling", "nice", "may"), [(0, 0, False), (20, 0, True), (20, -5, False), (25, -5, True)]
)
def test_the_limit_names_the_lowest_nice_value(
    ceiling: int, nice: int, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (ceiling, ceiling))
    assert module.may_raise_to(nice) is may
