"""A rollout that was stopped by its gate and taken back, as rows: what evidence is made of."""

from __future__ import annotations

from typing import Any

from cloud.promotion.gate import Finding
from cloud.rollouts.evidence.progress import Attempt
from cloud.rollouts.gating.component import Component
from cloud.rollouts.gating.judging import GateResult
from cloud.rollouts.models import Rollout, RolloutEntry, RolloutGate
from protocol.states import Verdict
from tests.simulation.rollouts.builds import IDENTITY

START = 1_000_000.0
BUILD, BEFORE = "1" * 64, "2" * 64


def rollout(**changed: Any) -> Rollout:
    values: dict[str, Any] = {
        "id": "r-1",
        "name": "caps v1",
        "model": "caps",
        "version": 1,
        "builds": [
            {"digest": BUILD, "manifest_bytes": 500, "identity": IDENTITY.model_dump(mode="json")}
        ],
        "spec": {"waves": [{"count": 2}, {"count": 2}], "gates": {"on_fail": "revert"}},
        "state": "STOPPED",
        "outcome": "REVERTED",
        "reason": "gate of wave 1: FAIL",
        "reverting": True,
        "created_at": START,
        "created_by": "ada",
        "ended_at": START + 600,
    }
    return Rollout(**{**values, **changed})


def attempt(device: str, number: int = 1, **changed: Any) -> Attempt:
    values: dict[str, Any] = {"wave": 0, "state": "QUEUED", "step_at": START}
    return Attempt(device, number, **{**values, **changed})


def done(device: str, number: int = 1, *, at: float = 100.0, **changed: Any) -> Attempt:
    """An attempt that took 60 s and succeeded `at` seconds after the start."""
    ended_at = START + at
    values: dict[str, Any] = {
        "state": "SUCCEEDED",
        "digest": BUILD,
        "started_at": ended_at - 60,
        "exchanged_at": ended_at - 10,
        "step_at": ended_at,
        "ended_at": ended_at,
    }
    return attempt(device, number, **{**values, **changed})


def executions() -> list[Attempt]:
    """dev-0 is back, dev-1 timed out at first and is not back, the second wave never began."""
    lost: dict[str, Any] = {
        "state": "TIMED_OUT",
        "reason": "no step for 900 s",
        "exchanged_at": None,
    }
    below: dict[str, Any] = {
        "state": "FAILED",
        "reason": "v2 is below the floor",
        "reverts": True,
        "exchanged_at": None,
    }
    canceled: dict[str, Any] = {
        "state": "CANCELED",
        "reason": "the gate failed",
        "step_at": START + 310,
    }
    return [
        done("dev-0", at=100),
        done("dev-0", 2, at=500, reverts=True, digest=BEFORE),
        done("dev-1", at=80, **lost),
        done("dev-1", 2, at=200),
        done("dev-1", 3, at=400, **below),
        attempt("dev-2", wave=1, ended_at=START + 310, **canceled),
        attempt("dev-3", wave=1, ended_at=START + 310, **canceled),
    ]


def component(name: str, finding: Finding = Finding.HOLDS, **changed: Any) -> Component:
    values: dict[str, Any] = {
        "kind": "confidence",
        "reason": "within its margin",
        "before": 0.8,
        "after": 0.79,
        "shift": 0.01,
        "low": -0.01,
        "high": 0.02,
        "margin": 0.03,
    }
    return Component(name, finding=finding, **{**values, **changed})


COMPONENTS = (
    Component("frames", "frames", Finding.HOLDS, "900 frames", after=900.0, margin=500.0),
    component("mean confidence"),
    component(
        "mean confidence of dev-1/east", Finding.HARM, after=0.6, shift=0.2, low=0.15, high=0.25,
        camera="dev-1/east", reason="at least 0.15 lower",
    ),
    component(
        "p95 latency", Finding.UNSHOWN, kind="latency", before=21.0, after=22.0, shift=0.05,
        low=-0.1, high=0.3, margin=0.25,
    ),
    Component("shadow", "shadow", Finding.REPORTED, "none ran: not judged"),
)  # fmt: skip
FAILED = GateResult(
    Verdict.FAIL, "dev-1/east sees worse", test=1, alpha=0.025, frames=900, detections=300,
    cameras=2, controls=0, cameras_unread=0, components=COMPONENTS,
)  # fmt: skip


def looks() -> list[RolloutGate]:
    common: dict[str, Any] = {"rollout_id": "r-1", "wave": 0}
    early: dict[str, Any] = {
        "verdict": "INCONCLUSIVE",
        "reason": "fewer than 500 frames",
        "settled": False,
    }
    few: dict[str, Any] = {"components": []}
    failed: dict[str, Any] = {
        "verdict": "FAIL",
        "reason": FAILED.reason,
        "figures": FAILED.as_dict(),
    }
    return [
        RolloutGate(**common, look=1, at=START + 210, figures=few, **early),
        RolloutGate(**common, look=2, at=START + 240, figures=few, **early),
        RolloutGate(**common, look=3, at=START + 300, settled=True, **failed),
    ]


def entry(kind: str, at: float, by: str = "engine", **changed: Any) -> RolloutEntry:
    return RolloutEntry(rollout_id="r-1", at=START + at, by=by, kind=kind, **changed)


def journal() -> list[RolloutEntry]:
    return [
        entry("created", 0, "ada"),
        entry("asked", 0),
        entry("approved", 10, "bob", text="go, the line stands still"),
        entry("wave", 20, wave=0),
        entry("gate", 300, wave=0, text="FAIL"),
        entry("aborted", 301, wave=0, text="gate of wave 1: FAIL"),
        entry("stopped", 600),
    ]
