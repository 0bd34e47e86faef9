"""Fault points: nothing without a plan, and exactly what the plan says with one."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import faults
from edge_agent.faults import EXIT_STATUS, Fault, FaultPlanError, Plan, parse
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def no_plan() -> Iterator[None]:
    yield
    faults.install("")


def test_without_a_plan_points_do_nothing_and_the_clock_is_the_machines() -> None:
    faults.point("update.PROVING.step")
    assert faults.clock().wall is time.time


def test_a_plan_is_read_in_its_order() -> None:
    assert parse(" a.b=kill , c=stall:0.5@3,a.b=error@2+,") == (
        Fault("a.b", "kill"),
        Fault("c", "stall", 0.5, 3, 3),
        Fault("a.b", "error", 0.0, 2, None),
    )


BAD = ["x", "x=", "x=burn", "x=kill:1", "x=stall", "x=stall:soon", "x=stall:nan", "x=clock:inf"]
BAD += ["x=error@0", "x=error@-1", "=kill", "x=clock:1e99", "x y=kill", "x=kill;", "x=kill," * 999]


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:16])
def test_what_is_no_plan_is_refused_and_the_one_before_stays(text: str) -> None:
    faults.install("here=error")
    with pytest.raises(FaultPlanError, match="ARGOSY_FAULTS"):
        faults.install(text)
    with pytest.raises(OSError, match="here"):
        faults.point("here")


@given(st.text(max_size=80))
def test_any_text_is_a_plan_or_refused(text: str) -> None:
    try:
        parse(text)
    except FaultPlanError:
        return


@given(st.integers(1, 6), st.booleans(), st.integers(1, 10))
def test_a_fault_comes_at_its_time(first: int, on: bool, times: int) -> None:
    plan = Plan((Fault("here", "error", 0.0, first, None if on else first),))
    raised = []
    for number in range(1, times + 1):
        plan.meet("elsewhere")
        try:
            plan.meet("here")
        except OSError:
            raised.append(number)
    assert raised == [n for n in range(1, times + 1) if n == first or (on and n > first)]


@pytest.mark.parametrize(("action", "number"), [("error", errno.EIO), ("full", errno.ENOSPC)])
def test_errors_are_those_of_a_disk(action: str, number: int) -> None:
    faults.install(f"store.write={action}")
    with pytest.raises(OSError, match="made at store") as raised:
        faults.point("store.write")
    assert raised.value.errno == number


def test_a_clock_moves_when_its_point_is_met() -> None:
    faults.install("now=clock:-1000@2")
    clock = faults.clock()
    before = clock.wall()
    faults.point("now")
    assert clock.wall() - before < 100
    faults.point("now")
    assert clock.wall() - before < -900


@pytest.mark.parametrize(("action", "status"), [("kill", -signal.SIGKILL), ("exit", EXIT_STATUS)])
def test_the_process_ends(action: str, status: int) -> None:
    code = f"from edge_agent import faults; faults.install('x={action}'); faults.point('x')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == status
    assert b"fault" in done.stdout + done.stderr
