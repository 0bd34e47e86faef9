"""Every state of an update, and every fault, with real agents that are really killed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import cast

import pytest

from protocol.states import BEFORE_EXCHANGE, TERMINAL_EXECUTION_STATES, ExecutionState
from tests.conftest import ROOT, lacking
from tests.integration.edge_agent.faults import QUICK, STATES, Case, Fault, all_cases
from tests.integration.edge_agent.faults_bundles import make_bundles
from tests.integration.edge_agent.faults_running import Finding, can_mount, run_case
from tests.integration.edge_agent.faults_summary import summary

pytestmark = pytest.mark.integration

AT_ONCE = int(os.environ.get("FAULTS_AT_ONCE", "3"))
CASES = [
    pytest.param(case, id=case.name, marks=[] if case.name in QUICK else [pytest.mark.slow])
    for case in all_cases()
]


@pytest.fixture(scope="module")
def outcome(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case], Finding]]:
    """Plays the cases that this run has chosen, a few at a time, ahead of their tests."""
    folder = tmp_path_factory.mktemp("faults")
    chosen = [
        cast(Case, item.callspec.params["case"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_fault.__name__
    ]
    bundles = make_bundles(folder / "bundles")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        playing: dict[Case, Future[Finding]] = {
            case: pool.submit(run_case, case, bundles, folder / case.name)
            for case in chosen
            if can_play(case)
        }
        yield lambda case: playing[case].result()
        for future in playing.values():
            future.cancel()
    findings = [f.result() for f in playing.values() if f.done() and not f.cancelled()]
    report = ROOT / "build" / "fault-table.json"
    report.parent.mkdir(exist_ok=True)
    rows = [asdict(finding) for finding in findings]
    report.write_text(json.dumps({**summary(rows), "rows": rows}, indent=2))


def can_play(case: Case) -> bool:
    return case.fault is not Fault.FULL_DISK or can_mount()


@pytest.mark.parametrize("case", CASES)
def test_fault(case: Case, outcome: Callable[[Case], Finding]) -> None:
    if not can_play(case):
        lacking("a small disk of its own needs root and mount")
    assert "\n".join(outcome(case).problems) == ""


def test_every_state_has_every_fault() -> None:
    working = set(ExecutionState) - TERMINAL_EXECUTION_STATES
    assert set(STATES) == working >= set(BEFORE_EXCHANGE)
    assert {(c.state, c.fault) for c in all_cases()} == {(s, f) for s in working for f in Fault}
    assert len({case.name for case in all_cases()}) == len(all_cases())
    assert {case.name for case in all_cases()} >= QUICK
