"""summary.json: the figures of a run and whether its goals were met."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from simulators.demo.learning import CONTROL, FIRST_FACTORY, RETRAINED
from simulators.demo.measure import WINDOWS, Measures
from simulators.demo.plan import LINE_1, LINE_2, Plan
from simulators.demo.record import Record

_NAMES = {"before": "before_drift", "under": "under_drift", "after": "after_update"}


@dataclass(frozen=True)
class Goal:
    """Something that the story has to show, and whether it did."""

    name: str
    value: float | str | None
    wanted: str
    holds: bool


def summarise(record: Record, plan: Plan, measures: Measures) -> dict[str, Any]:
    """The whole of summary.json. Figures without a camera are means over all cameras."""
    summary: dict[str, Any] = {
        "plan": plan.name,
        "seed": plan.seed,
        "versions": [asdict(made) for made in record.versions],
    }
    for window in WINDOWS:
        name = _NAMES[window]
        scores = measures.windows[window]
        summary[f"map50_{name}"] = _round(measures.mean(window, "map50"))
        summary[f"map50_{name}_per_camera"] = {c: _round(s.map50) for c, s in scores.items()}
        summary[f"mean_confidence_{name}"] = _round(measures.mean(window, "mean_confidence"))
        summary[f"mean_confidence_{name}_per_camera"] = {
            c: _round(s.mean_confidence) for c, s in scores.items()
        }
        summary[f"frames_measured_{name}"] = {c: s.images for c, s in scores.items()}
    summary |= _control(measures) | _accounts(measures) | _times(record, plan, measures)
    summary |= {
        # Both versions on the same frames: other parts in another window would add noise.
        "map50_undrifted_before": _round(measures.replays[FIRST_FACTORY][LINE_1].map50),
        "map50_undrifted_after": _round(measures.windows["after"][LINE_1].map50),
        "samples_uploaded": len(record.samples),
        "samples_annotated": record.samples_annotated,
        "rollout_state": record.rollouts[-1]["state"],
        "devices": record.devices,
        "exclusion_frames": plan.exclusion_frames,
        "drift": {k: v for k, v in plan.drift.as_dict().items() if v},
        "machine": record.machine,
    }
    goals = judge(summary, plan)
    summary["goals"] = [asdict(goal) for goal in goals]
    summary["goals_met"] = all(goal.holds for goal in goals)
    return summary


def judge(summary: dict[str, Any], plan: Plan) -> list[Goal]:
    """Each goal of the story, held against the figures."""
    wanted = plan.goals
    before, under, after = (summary[f"map50_{name}"] for name in _NAMES.values())
    control = summary["map50_control"]
    clean_before, clean_after = summary["map50_undrifted_before"], summary["map50_undrifted_after"]
    goals = [
        _at_least("drift costs mAP50", _minus(before, under), wanted.drift_cost_map50_min),
        _at_least(
            "mAP50 after the update, as a share of that before the drift",
            _over(after, before),
            wanted.recovery_share_min,
        ),
        _at_least("the update gains mAP50", _minus(after, under), wanted.recovery_gain_map50_min),
        _at_most(
            "the undrifted line loses mAP50, on the same frames",
            _minus(clean_before, clean_after),
            wanted.undrifted_loss_map50_max,
        ),
        Goal(
            "a control retrained without the harvested images scores lower",
            control,
            f"< {after}",
            _known(control, after) and control < after,
        ),
    ]
    goals += [
        Goal(name.replace("_", " "), summary[name], "= 0", summary[name] == 0)
        for name in (
            "frames_dropped_in_swap",
            "lost_messages",
            "duplicate_rows",
            "detections_of_unassigned_builds",
        )
    ]
    goals += [
        Goal(
            "rollout state",
            summary["rollout_state"],
            "FINISHED",
            summary["rollout_state"] == "FINISHED",
        ),
        _at_most("loop overhead, s", summary["loop_overhead_s"], wanted.loop_overhead_s_max),
        _at_most("total time, s", summary["total_s"], plan.total_s_max),
    ]
    return goals


def _control(measures: Measures) -> dict[str, Any]:
    """The control on the frames of the last window; cameras of other models as they ran."""
    ran = {camera: s.map50 for camera, s in measures.windows["after"].items()}
    control = {c: s.map50 for c, s in measures.replays[CONTROL].items()}
    again = {c: s.map50 for c, s in measures.replays[RETRAINED].items()}
    return {
        "map50_control": _mean(ran | control),
        "map50_control_per_camera": {c: _round(v) for c, v in (ran | control).items()},
        "map50_after_update_replayed_per_camera": {c: _round(v) for c, v in again.items()},
    }


def _accounts(measures: Measures) -> dict[str, Any]:
    accounts = measures.accounts
    swaps = [swap for a in accounts.values() for swap in a.swaps]
    steady = [a.steady_gap_ms_p99 for a in accounts.values() if a.steady_gap_ms_p99 is not None]
    return {
        "frames_processed": sum(a.processed for a in accounts.values()),
        "frames_dropped": sum(a.dropped for a in accounts.values()),
        "frames_dropped_in_swap": sum(a.dropped_in_swap for a in accounts.values()),
        "swaps": len(swaps),
        "swap_gap_ms_max": _round(max((s.gap_ms for s in swaps), default=None), 1),
        "steady_gap_ms_p99": _round(max(steady, default=None), 1),
        "lost_messages": measures.messages.lost,
        "duplicate_rows": measures.messages.duplicates,
        "messages": asdict(measures.messages),
        "detections_of_unassigned_builds": sum(measures.unassigned.values()) + measures.unproven,
        "frames_left_out_near_harvested": measures.left_out,
    }


def _times(record: Record, plan: Plan, measures: Measures) -> dict[str, Any]:
    ended_at = record.ended_at or record.stages[-1].ended_at or record.started_at
    return {
        "training_s": _round(sum(made.training_s for made in record.versions), 1),
        "training_s_per_version": {m.role: _round(m.training_s, 1) for m in record.versions},
        "loop_overhead_s": loop_overhead_s(record, plan, measures),
        "total_s": _round(ended_at - record.started_at, 1),
        "stages_s": {
            s.key: _round(s.ended_at - s.started_at, 1) for s in record.stages if s.ended_at
        },
    }


def loop_overhead_s(record: Record, plan: Plan, measures: Measures) -> float | None:
    """Last label → training starts, plus training ends → the new version's first frame on the
    last device, less the first wave's configured probation and soak."""
    digest = record.version(RETRAINED).digest
    first_frames = [
        swap.at for a in measures.accounts.values() for swap in a.swaps if swap.to_digest == digest
    ]
    job = record.jobs[RETRAINED]
    if record.last_label_at is None or not first_frames:
        return None
    asking = job["started_at"] - record.last_label_at
    shipping = max(first_frames) - job["training_ended_at"] - plan.soak_s - plan.probation_s
    return _round(asking + shipping, 1)


def drifted_map50(summary: dict[str, Any], name: str) -> float | None:
    """mAP50 of the drifted camera: `name` is before_drift, under_drift, after_update, control."""
    found: float | None = summary[f"map50_{name}_per_camera"][LINE_2]
    return found


def _at_least(name: str, value: float | None, least: float) -> Goal:
    return Goal(name, value, f"≥ {least:g}", value is not None and value >= least)


def _at_most(name: str, value: float | None, most: float) -> Goal:
    return Goal(name, value, f"≤ {most:g}", value is not None and value <= most)


def _known(*values: float | None) -> bool:
    return None not in values


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else _round(a - b)


def _over(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else _round(a / b)


def _mean(values: dict[str, float | None]) -> float | None:
    known = [v for v in values.values() if v is not None]
    return _round(fmean(known)) if len(known) == len(values) else None


def _round(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)
