"""The figures of a run: the devices' own output held against the cameras' truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from simulators.checkers import digests, frames, messages
from simulators.checkers.records import (
    Pair,
    far_from,
    pair,
    read_outputs,
    read_truth,
)
from simulators.checkers.scoring import Case, Run, Score, score
from simulators.demo.plan import Plan
from simulators.demo.record import Record, Watched
from simulators.demo.replay import Replay

WINDOWS = ("before", "under", "after")


@dataclass(frozen=True)
class Point:
    """Accuracy and confidence of a few seconds of one camera; None where nothing was there."""

    at: float
    map50: float | None
    confidence: float | None
    digest: str


@dataclass
class Measures:
    """Everything that was measured.

    Attributes:
        windows: score by window and camera, on the device's own output.
        kept: pairs by window and camera that were measured: none near a harvested frame.
        replays: score by version role and camera, on the served frames of the last window.
        left_out: frames by window and camera that were too near to a harvested one.
    """

    windows: dict[str, dict[str, Score]]
    kept: dict[str, dict[str, list[Pair]]]
    replays: dict[str, dict[str, Score]]
    left_out: dict[str, dict[str, int]]
    series: dict[str, list[Point]]
    accounts: dict[str, frames.Accounts]
    messages: messages.MessageAccounts
    unassigned: dict[str, int] = field(default_factory=dict)
    unproven: int = 0

    def mean(self, window: str, figure: str) -> float | None:
        """The mean over all cameras of a figure of `Score`."""
        return mean_of(self.windows[window].values(), figure)


def mean_of(scores: Iterable[Score], figure: str) -> float | None:
    """Mean of a figure of some scores, None where one of them has none."""
    values = [getattr(s, figure) for s in scores]
    return None if not values or None in values else fmean(values)


def read_pairs(record: Record) -> dict[str, list[Pair]]:
    """What every camera sent and its device saw, by camera."""
    return {
        w.camera: pair(read_truth(Path(w.truth)), read_outputs(Path(w.output)))
        for w in record.cameras
    }


def windows_of(
    record: Record, plan: Plan, pairs: Mapping[str, Sequence[Pair]]
) -> tuple[dict[str, dict[str, list[Pair]]], dict[str, dict[str, int]]]:
    """The pairs of each window and camera that may be measured on, and how many may not."""
    harvested = {sample["frame_id"] for sample in record.samples}
    kept: dict[str, dict[str, list[Pair]]] = {}
    left_out: dict[str, dict[str, int]] = {}
    for window in WINDOWS:
        start, end = record.windows[window]
        # Only a version that learnt from the harvested frames can know their neighbours.
        distance = plan.exclusion_frames if window == "after" else 1
        kept[window], left_out[window] = {}, {}
        for camera, found in pairs.items():
            clean = {p.truth.frame_id for p in far_from(found, harvested, distance)}
            inside = [p for p in found if start <= p.output.captured_at < end]
            kept[window][camera] = [p for p in inside if p.truth.frame_id in clean]
            left_out[window][camera] = len(inside) - len(kept[window][camera])
    return kept, left_out


def measure(
    record: Record,
    plan: Plan,
    pairs: Mapping[str, Sequence[Pair]],
    replays: Mapping[str, Replay],
    *,
    folder: Path,
    run: Run,
) -> Measures:
    """Score and account for everything. `replays` are by version role."""
    kept, left_out = windows_of(record, plan, pairs)
    cases = [
        *_window_cases(kept),
        *_series_cases(record, plan, pairs),
        *_replay_cases(replays, kept),
    ]
    scores = score(cases, folder, run)
    assigned = {made.digest for made in record.versions}
    return Measures(
        windows={w: {c: scores[f"window/{w}/{c}"] for c in kept[w] if kept[w][c]} for w in WINDOWS},
        kept=kept,
        replays={
            role: {c: scores[f"replay/{role}/{c}"] for c in replay.cameras}
            for role, replay in replays.items()
        },
        left_out=left_out,
        series={camera: _series(record, plan, camera, pairs[camera], scores) for camera in pairs},
        accounts={camera: frames.account(found) for camera, found in pairs.items()},
        messages=account_messages(record),
        unassigned=digests.unassigned((p.output for f in pairs.values() for p in f), assigned),
        unproven=sum(_unproven(record, w, pairs[w.camera]) for w in record.cameras),
    )


def account_messages(record: Record) -> messages.MessageAccounts:
    """Compare the devices' outboxes with what the hub stored."""
    issued: dict[messages.Key, messages.Issued] = {}
    for watched in record.cameras:
        issued.update(messages.read_outbox(Path(watched.data_dir), watched.device))
    stored: dict[messages.Key, list[tuple[int, int]]] = {}
    for row in record.counters["stored"]:
        key = (row["device"], row["stream"], row["epoch"])
        stored.setdefault(key, []).append((row["first"], row["last"]))
    return messages.account(issued, stored)


def _window_cases(kept: Mapping[str, Mapping[str, Sequence[Pair]]]) -> Iterator[Case]:
    for window, cameras in kept.items():
        for camera, found in cameras.items():
            yield from (_case(f"window/{window}/{camera}", p) for p in found)


def _series_cases(
    record: Record, plan: Plan, pairs: Mapping[str, Sequence[Pair]]
) -> Iterator[Case]:
    for camera, found in pairs.items():
        for p in found:
            yield _case(f"series/{camera}/{_bucket(record, plan, p)}", p)


def _replay_cases(
    replays: Mapping[str, Replay], kept: Mapping[str, Mapping[str, Sequence[Pair]]]
) -> Iterator[Case]:
    for role, replay in replays.items():
        for camera in replay.cameras:
            for p in kept["after"][camera]:
                key = camera, p.truth.frame_number
                seen, below = replay.seen[key], replay.unserved[key]
                group = f"replay/{role}/{camera}"
                yield Case(group, p.truth.frame_id, p.truth.boxes, seen, below)


def _case(group: str, found: Pair) -> Case:
    truth, output = found.truth, found.output
    return Case(group, truth.frame_id, truth.boxes, output.detections, output.unserved)


def _bucket(record: Record, plan: Plan, found: Pair) -> int:
    return int((found.output.captured_at - record.started_at) // plan.bucket_s)


def _series(
    record: Record,
    plan: Plan,
    camera: str,
    found: Sequence[Pair],
    scores: Mapping[str, Score],
) -> list[Point]:
    buckets: dict[int, list[Pair]] = {}
    for p in found:
        buckets.setdefault(_bucket(record, plan, p), []).append(p)
    points = []
    for bucket, inside in sorted(buckets.items()):
        scored = scores[f"series/{camera}/{bucket}"]
        at = record.started_at + (bucket + 0.5) * plan.bucket_s
        digest = inside[-1].output.bundle_digest
        points.append(Point(at, scored.map50, scored.mean_confidence, digest))
    return points


def _unproven(record: Record, watched: Watched, found: Sequence[Pair]) -> int:
    proven: dict[str, float] = {}
    for event in record.events:
        detail = event["detail"]
        if event["device_id"] == watched.device and detail.get("state") == "SWAPPING":
            proven.setdefault(detail["bundle_digest"], event["at"])
    return len(digests.before_proof((p.output for p in found), proven))
