"""A look at a gate, over a real database: what is collected, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sqlmodel import Session

from cloud.fleet.models import Device
from cloud.rollouts import queries
from cloud.rollouts.gating import collecting as gate_collecting
from cloud.rollouts.gating import looks as gating
from cloud.rollouts.models import Execution, Rollout, RolloutGate
from cloud.rollouts.request.spec import RolloutSpec
from cloud.telemetry.models import DeviceEvent, TelemetryWindow
from protocol.histograms import confidence_histogram, milliseconds_histogram
from protocol.messages import Alert, EventReport, SlotDesired, TelemetryReport, encode
from protocol.states import ExecutionState, Verdict
from protocol.windows import ClassStats, WindowStats
from tests.unit.cloud.rollouts.conftest import DIGESTS, MODEL, Hub

OLD, NEW = DIGESTS[1], DIGESTS[2]
AT = 1_000_000.0
WINDOW_S = 10.0
GATES = {"frames_min": 500, "detections_min": 50, "camera_frames_min": 100}
GOOD, BAD = (0.92, 0.9, 0.86), (0.6, 0.45, 0.3)


def store_windows(
    session: Session,
    device_id: str,
    digest: str,
    numbers: range,
    *,
    levels: tuple[float, ...] = GOOD,
    at: float = AT,
) -> None:
    """Windows by their number from `at` on (negative: before it), things at confidences `levels`
    and some background."""
    rng = np.random.default_rng([int(device_id[-1]), numbers.start + 10_000])
    for n in numbers:
        found = rng.choice(levels, size=int(rng.integers(50, 70))).tolist()
        found += rng.uniform(0.0, 0.2, size=20).tolist()
        stats = WindowStats(
            frames_captured=100,
            frames_inferred=100,
            classes={0: ClassStats(calibrated=confidence_histogram().add(found), served=50)},
            latency_ms=milliseconds_histogram().add(rng.normal(20, 2, size=100).tolist()),
        )
        report = TelemetryReport(
            device_id=device_id, epoch="ab" * 16, sequence=20_000 + n, camera="cam", slot=MODEL,
            bundle_digest=digest, window_start=at + n * WINDOW_S,
            window_end=at + (n + 1) * WINDOW_S, stats=stats,
        )  # fmt: skip
        columns = report.model_dump(exclude={"kind", "stats", "schema_version"})
        session.add(
            TelemetryWindow(
                **columns, frames_inferred=100, served=50, served_confidence_sum=40.0,
                payload=encode(report).decode(),
            )
        )  # fmt: skip
    session.flush()


@dataclass
class Stage:
    """A rollout whose first wave is dev-0 and dev-1, the others wait; and a clock."""

    session: Session
    rollout: Rollout

    def look(self, now: float, *, settled: bool = False) -> RolloutGate:
        with self.session.no_autoflush:
            row = gating.look(self.session, self.rollout, 0, settled=settled, now=now)
        self.session.flush()
        return row

    def execution(self, device_id: str, **more: Any) -> None:
        row = self.session.get_one(Execution, (self.rollout.id, device_id, 1))
        for name, value in more.items():
            setattr(row, name, value)
        self.session.add(row)
        self.session.flush()

    def windows(
        self, device_id: str, digest: str, first: int, count: int, levels: tuple[float, ...] = GOOD
    ) -> None:
        store_windows(self.session, device_id, digest, range(first, first + count), levels=levels)

    def entries(self) -> list[str]:
        return [row.text for row in queries.entries(self.session, self.rollout.id, 0, 100)]


@pytest.fixture
def stage(hub: Hub) -> Iterator[Stage]:
    """All devices ran version 1; the first two succeeded with version 2 at AT."""
    spec = RolloutSpec.model_validate({"waves": [{"count": 2}, {"count": 4}], "gates": GATES})
    before = SlotDesired(
        bundle_digest=OLD, manifest_bytes=500, model=MODEL, version=1
    ).model_dump_json()
    with hub.database.transaction() as session:
        rollout = Rollout(
            id="r1", name="", model=MODEL, version=2, builds=[], spec=spec.model_dump(mode="json"),
            state="RUNNING", created_at=AT - 100, created_by="ada",
        )  # fmt: skip
        session.add(rollout)
        session.flush()
        for n in range(6):
            begun = n < 2
            session.add(
                Execution(
                    rollout_id="r1", device_id=f"dev-{n}", attempt=1, wave=0 if begun else 1,
                    state=(ExecutionState.SUCCEEDED if begun else ExecutionState.QUEUED).value,
                    digest=NEW if begun else None, started_at=AT - 20 if begun else None,
                    exchanged_at=AT if begun else None, before=before if begun else None,
                    step_at=AT,
                )
            )  # fmt: skip
            device = session.get_one(Device, f"dev-{n}")
            device.running = {MODEL: NEW if begun else OLD}
            session.add(device)
        session.flush()
        yield Stage(session, rollout)


def measured(stage: Stage, after: int, levels: tuple[float, ...] = GOOD) -> None:
    """All six devices counted for 100 windows before, and `after` since."""
    for n in range(6):
        name = f"dev-{n}"
        stage.windows(name, OLD, -100, 100)
        stage.windows(name, NEW if n < 2 else OLD, 0, after, levels if n < 2 else GOOD)


def test_what_sees_as_well_passes_and_is_kept_with_its_figures(stage: Stage) -> None:
    measured(stage, 30)
    row = stage.look(AT + 300, settled=True)
    assert (row.verdict, row.look, row.settled, row.at) == ("PASS", 1, True, AT + 300)
    kept = {c["name"]: c for c in json.loads(json.dumps(row.figures))["components"]}
    assert (kept["mean confidence"]["cameras"], kept["mean confidence"]["controls"]) == (2, 4)
    assert row.figures["frames"] == 2 * 30 * 100
    assert stage.entries() == [f"PASS: {row.reason}"]


def test_what_sees_worse_fails(stage: Stage) -> None:
    measured(stage, 30, BAD)
    row = stage.look(AT + 300)
    assert row.verdict == Verdict.FAIL.value
    assert "mean confidence" in row.reason


def test_before_anything_came_it_is_inconclusive(stage: Stage) -> None:
    assert stage.look(AT).verdict == Verdict.INCONCLUSIVE.value


def test_a_verdict_stands_until_twice_as_much_has_come(stage: Stage) -> None:
    measured(stage, 20)
    first = stage.look(AT + 200)
    for n in range(6):
        stage.windows(f"dev-{n}", NEW if n < 2 else OLD, 20, 10, BAD if n < 2 else GOOD)
    second = stage.look(AT + 300)
    assert (first.verdict, second.verdict) == ("PASS", "PASS")
    assert second.figures["test"] == 1
    for n in range(6):
        stage.windows(f"dev-{n}", NEW if n < 2 else OLD, 30, 30, BAD if n < 2 else GOOD)
    third = stage.look(AT + 600)
    assert (third.verdict, third.figures["test"]) == ("FAIL", 2)
    assert len(stage.entries()) == 2


def test_of_looks_that_find_the_same_the_first_and_the_newest_are_kept(stage: Stage) -> None:
    measured(stage, 30)
    rows = [stage.look(AT + 300 + n, settled=True) for n in range(5)]
    assert [row.look for row in rows] == [1, 2, 2, 2, 2]
    assert (rows[0].at, rows[-1].at) == (AT + 300, AT + 304)
    assert len(stage.entries()) == 1


def test_a_look_that_a_person_has_answered_is_left_as_it_is(stage: Stage) -> None:
    rows = [stage.look(AT + n) for n in range(2)]
    rows[-1].answered_by, rows[-1].answered_at = "ada", AT + 3
    stage.session.add(rows[-1])
    after = stage.look(AT + 9)
    assert (after.look, rows[-1].at, rows[-1].answered_by) == (3, AT + 1, "ada")


def test_a_look_that_a_person_made_without_figures_is_no_hindrance(stage: Stage) -> None:
    stage.session.add(
        RolloutGate(rollout_id="r1", wave=0, look=1, at=AT, settled=False, reason="let pass",
                    verdict="INCONCLUSIVE", figures={}, answered_by="ada")
    )  # fmt: skip
    stage.session.flush()
    measured(stage, 30)
    row = stage.look(AT + 300)
    assert (row.look, row.verdict) == (2, "PASS")


def test_starts_after_the_exchange_count_and_those_before_do_not(stage: Stage) -> None:
    device = stage.session.get_one(Device, "dev-1")
    device.boots = 5
    stage.session.add(device)
    stage.execution("dev-1", boots=5)
    assert stage.look(AT).verdict == "INCONCLUSIVE"
    device.boots = 8
    stage.session.flush()
    row = stage.look(AT + 1)
    assert (row.verdict, "dev-1 (3)" in row.reason) == ("FAIL", True)


@pytest.mark.parametrize("slot", [MODEL, "other"])
def test_an_alert_that_somebody_went_back_counts_for_its_slot(stage: Stage, slot: str) -> None:
    event = EventReport(
        device_id="dev-0", epoch="ab" * 16, sequence=1, at=AT + 5,
        alert=Alert(name="rolled_back_by_hand", text=f"{slot}: back to 1"),
    )  # fmt: skip
    stage.session.add(
        DeviceEvent(device_id="dev-0", epoch="ab" * 16, sequence=1, at=AT + 5, kind="alert",
                    payload=encode(event).decode())
    )  # fmt: skip
    stage.session.flush()
    assert (stage.look(AT + 9).verdict == "FAIL") is (slot == MODEL)


def test_a_shadow_that_disagreed_fails(stage: Stage) -> None:
    stage.execution("dev-0", figures={"shadow_agreement": 0.2, "shadow_detections": 900.0})
    assert "agree in 0.200 of 900 detections" in stage.look(AT).reason


def test_a_device_that_goes_back_is_no_evidence(stage: Stage) -> None:
    measured(stage, 30, BAD)
    stage.execution("dev-0", reverts=True)
    stage.execution("dev-1", state=ExecutionState.ROLLED_BACK.value)
    row = stage.look(AT + 300)
    assert (row.figures["cameras"], row.verdict) == (0, "INCONCLUSIVE")


def test_reads_are_bounded_and_what_is_left_out_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(stage, 30)
    monkeypatch.setattr(gate_collecting, "CAMERAS_MAX", 1)
    monkeypatch.setattr(gate_collecting, "CONTROLS_MAX", 1)
    monkeypatch.setattr(gate_collecting, "WINDOWS_IN_ALL", 120)
    one, two = stage.look(AT + 300), stage.look(AT + 300)
    assert (one.figures["cameras"], one.figures["controls"]) == (1, 1)
    assert one.figures["cameras_unread"] == 1
    assert one.figures["frames"] == 20 * 100
    assert one.figures == two.figures


def rolled_out(hub: Hub) -> str:
    """All six devices run version 1; version 2 is on the first wave's two, who counted before."""
    hub.create(version=1)
    hub.settle()
    for n in range(6):
        hub.succeed(f"dev-{n}")
        hub.runs(f"dev-{n}", OLD)
    hub.settle(2000)
    asked = {"version": 2, "gates": GATES, "waves": [{"count": 2}, {"percent": 100}]}
    second = hub.create(**asked)
    hub.settle()
    with hub.database.transaction() as session:
        for n in range(6):
            store_windows(session, f"dev-{n}", OLD, range(-100, -1), at=hub.now)
    for device_id in first_wave(hub, second):
        hub.succeed(device_id)
        hub.runs(device_id, NEW)
    return second


def first_wave(hub: Hub, rollout_id: str) -> list[str]:
    return [d for (d, _), row in hub.executions(rollout_id).items() if row.wave == 0]


@pytest.mark.parametrize("levels", [GOOD, BAD], ids=["good", "bad"])
def test_the_engine_looks_and_goes_on_or_back(hub: Hub, levels: tuple[float, ...]) -> None:
    rollout_id = rolled_out(hub)
    hub.settle()
    assert hub.rollout(rollout_id).wave == 0
    with hub.database.transaction() as session:
        for n in range(6):
            new = f"dev-{n}" in first_wave(hub, rollout_id)
            store_windows(session, f"dev-{n}", NEW if new else OLD, range(30),
                          levels=levels if new else GOOD, at=hub.now)  # fmt: skip
    hub.settle(301)
    found = hub.rollout(rollout_id)
    with hub.database.reading() as session:
        row = queries.last_gate(session, rollout_id, 0)
        assert row is not None
        assert row.verdict == ("PASS" if levels is GOOD else "FAIL"), row.reason
    if levels is GOOD:
        assert (found.wave, found.state) == (1, "RUNNING")
    else:
        assert (found.wave, found.reverting) == (0, True)
        assert all(row.started_at is None for (d, _), row in hub.executions(rollout_id).items()
                   if d not in first_wave(hub, rollout_id))  # fmt: skip


def test_the_engine_keeps_two_looks_of_a_wave_that_holds(hub: Hub) -> None:
    rollout_id = rolled_out(hub)
    for _ in range(6):
        hub.settle(31)
    with hub.database.reading() as session:
        looks = queries.looks_at_gate(session, rollout_id, 0)
        settled = [look for look in looks if look.settled]
        assert [look.verdict for look in settled] == ["INCONCLUSIVE", "INCONCLUSIVE"]
        assert settled[1].at > settled[0].at + 100
