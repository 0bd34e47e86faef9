"""A run that never ran: real scenes, made-up detections, for judging figures and the page."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.checkers.records import Labelled, Pair
from simulators.demo.learning import CONTROL, FIRST_FACTORY, FIRST_SHELF, RETRAINED
from simulators.demo.measure import Measures, measure, read_pairs, windows_of
from simulators.demo.plan import FAST, LINE_1, LINE_2, PLACES, Plan
from simulators.demo.record import Record, Stage, VersionMade, Watched
from simulators.demo.replay import Replay
from simulators.scenes import SCENES, Box, Drift

START = 1_700_000_000.0
DIGESTS = {FIRST_FACTORY: "a" * 64, FIRST_SHELF: "b" * 64, RETRAINED: "c" * 64, CONTROL: "d" * 64}
DRIFT_AT, SWAP_AT, END_AT = 24.0, 64.0, 90.0
EPOCH = "e" * 32
FPS = 5.0


@dataclass(frozen=True)
class Skill:
    """How well a made-up detector sees: share of boxes found, and how sure it is."""

    recall: float
    confidence: float


GOOD, BAD = Skill(0.97, 0.88), Skill(0.45, 0.55)


def seen(boxes: Sequence[Box], skill: Skill, rng: random.Random, classes: int) -> list[Labelled]:
    """Detections of `boxes` by a detector of that skill."""
    found = []
    for box in boxes:
        if rng.random() > skill.recall:
            continue
        wrong = rng.random() > skill.recall + 0.1
        class_id = rng.randrange(classes) if wrong else box.class_id
        moved = (box.x1 + 1, box.y1 - 1, box.x2 + 1, box.y2)
        confidence = min(0.99, max(0.25, rng.gauss(skill.confidence, 0.08)))
        found.append(Labelled(class_id, moved, confidence))
    return found


def make_run(folder: Path, plan: Plan = FAST) -> Record:
    """Truth logs, outputs, outboxes and the record of a run that went well."""
    record = Record(plan.name, 0, START, START + END_AT + 5)
    for number, place in enumerate(PLACES):
        watched = Watched(
            camera=place.camera,
            device=place.device,
            model=place.scene,
            scene=place.scene,
            seed=place.seed,
            truth=str(folder / f"{place.camera}.truth.jsonl"),
            output=str(folder / f"{place.camera}.jsonl"),
            data_dir=str(folder / place.device),
            class_names=list(SCENES[place.scene](place.seed).class_names),
        )
        record.cameras.append(watched)
        _write_camera(watched, plan, random.Random(number))
        _write_outbox(record, watched)
    record.windows = {"before": (START + 4, START + 22), "under": (START + 26, START + 40)}
    record.windows["after"] = (START + SWAP_AT + 4, START + END_AT)
    record.samples = [{"frame_id": f"t-{LINE_2}-{n}", "camera": LINE_2} for n in range(210, 250, 2)]
    _write_story(record)
    return record


def measured(record: Record, folder: Path, plan: Plan = FAST) -> tuple[Measures, dict[str, Replay]]:
    """The measures of a made-up run, with made-up replays."""
    pairs = read_pairs(record)
    after = windows_of(record, plan, pairs)[0]["after"]
    replays = {
        role: _replay(record, after, skill)
        for role, skill in ((FIRST_FACTORY, BAD), (RETRAINED, GOOD), (CONTROL, BAD))
    }
    return measure(record, plan, pairs, replays, folder=folder, run=score_here), replays


def score_here(_name: str, arguments: Sequence[str]) -> str:
    """`argosy score` without a process of its own."""
    from cloud.evaluation.groups import score_files

    found = score_files(Path(arguments[2]), Path(arguments[4]))
    return json.dumps({group: scored.as_dict() for group, scored in found.items()})


def _write_camera(watched: Watched, plan: Plan, rng: random.Random) -> None:
    scene = SCENES[watched.scene](watched.seed)
    classes = len(watched.class_names)
    role = FIRST_FACTORY if watched.scene == "factory" else FIRST_SHELF
    with Path(watched.truth).open("w") as truth, Path(watched.output).open("w") as output:
        for index in range(int(END_AT * FPS)):
            passed = index / FPS
            drifted = watched.camera == LINE_2 and passed >= DRIFT_AT
            swapped = watched.scene == "factory" and passed >= SWAP_AT
            drift = plan.drift if drifted else Drift()
            _, boxes = scene.render(1_000_000 + index, drift)
            frame = {"connection": f"t-{watched.camera}", "index": index, "camera": watched.camera}
            truth.write(json.dumps(frame | _truth(index, drift, boxes, passed)) + "\n")
            skill = BAD if drifted and not swapped else GOOD
            digest = DIGESTS[RETRAINED if swapped else role]
            found = seen(boxes, skill, rng, classes)
            output.write(json.dumps(frame | _output(frame, digest, found, passed)) + "\n")


def _truth(index: int, drift: Drift, boxes: Sequence[Box], passed: float) -> dict[str, Any]:
    return {
        "frame_number": 1_000_000 + index,
        "drift": drift.as_dict(),
        "boxes": [[b.class_id, b.x1, b.y1, b.x2, b.y2] for b in boxes],
        "sent_at": START + passed,
    }


def _output(
    frame: dict[str, Any], digest: str, found: Sequence[Labelled], passed: float
) -> dict[str, Any]:
    return {
        "frame_id": f"{frame['connection']}-{frame['index']}",
        "captured_at": START + passed + 0.002,
        "result_at": START + passed + 0.012,
        "bundle_digest": digest,
        "version": 1,
        "latency_ms": 8.0,
        "detections": [
            {"class_id": d.class_id, "confidence": d.confidence, "box": list(d.box)} for d in found
        ],
    }


def _write_outbox(record: Record, watched: Watched) -> None:
    folder = Path(watched.data_dir) / "outbox"
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "outbox.sqlite3")) as database:
        database.execute("CREATE TABLE outbox (epoch TEXT)")
        database.execute("CREATE TABLE streams (stream TEXT, next_sequence INTEGER)")
        database.execute(
            "CREATE TABLE entries (stream TEXT, first_sequence INTEGER, sequence INTEGER)"
        )
        database.execute("INSERT INTO outbox VALUES (?)", (EPOCH,))
        database.execute("INSERT INTO streams VALUES ('telemetry', 41)")
        database.commit()
    record.counters.setdefault("stored", []).extend(
        {"device": watched.device, "stream": "telemetry", "epoch": EPOCH, "first": n, "last": n}
        for n in range(1, 41)
    )


def _write_story(record: Record) -> None:
    titles = ("Render the first images", "Train the factory's detector", "Watch", "Retrain")
    for number, title in enumerate(titles):
        begin = START + number * 22
        record.stages.append(Stage(f"s{number}", title, begin, begin + 20, "a note on it"))
    record.mark(START + DRIFT_AT, "drift", "the world changes", LINE_2)
    record.mark(START + 42, "harvest", "images are asked for", LINE_2)
    record.mark(START + 50, "labels", "20 images labelled", LINE_2)
    record.mark(START + 61, "training", "retrained trained", LINE_1, LINE_2)
    record.mark(START + SWAP_AT, "swap", "runs factory v2", LINE_2)
    record.mark(START + SWAP_AT, "swap", "runs factory v2", LINE_1)
    record.versions = [
        VersionMade(role, role.split("-")[0] if "-" in role else "factory", n, d, 20.0, 9_650_000)
        for n, (role, d) in enumerate(DIGESTS.items(), start=1)
    ]
    record.versions[1].model = "shelf"
    record.jobs[RETRAINED] = {"started_at": START + 51, "training_ended_at": START + 61}
    record.last_label_at, record.samples_annotated = START + 50, 20
    record.rollouts = [{"state": "FINISHED", "role": RETRAINED}]
    record.devices = [
        {"id": w.device, "site": "plant", "running": {w.model: {"digest": "c" * 64, "name": "v2"}}}
        for w in record.cameras
    ]
    record.machine = {"cpu": "a processor", "cores": 2, "memory_gib": 8.0, "python": "3.11.7"}
    states = ("DOWNLOADING", "VERIFIED", "PROVING", "SWAPPING", "PROBATION", "SUCCEEDED")
    for watched in record.cameras:
        first = DIGESTS[FIRST_FACTORY if watched.scene == "factory" else FIRST_SHELF]
        passages = [(START - 9, first)]
        if watched.scene == "factory":
            passages.append((START + SWAP_AT - 3, DIGESTS[RETRAINED]))
        for begin, digest in passages:
            for n, state in enumerate(states):
                detail = {"state": state, "bundle_digest": digest}
                event = {"device_id": watched.device, "at": begin + n, "kind": "execution"}
                record.events.append(event | {"detail": detail})


def _replay(record: Record, after: dict[str, list[Pair]], skill: Skill) -> Replay:
    rng = random.Random(9)
    found = {}
    for camera in (LINE_1, LINE_2):
        classes = len(record.watched(camera).class_names)
        for pair in after[camera]:
            boxes = [Box(b.class_id, *b.box) for b in pair.truth.boxes]
            kind = GOOD if camera == LINE_1 else skill
            found[camera, pair.truth.frame_number] = tuple(seen(boxes, kind, rng, classes))
    return Replay((LINE_1, LINE_2), found, dict.fromkeys(found, ()))
