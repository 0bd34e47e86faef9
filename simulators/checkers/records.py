"""Truth logs and device outputs, read and paired by (connection, index)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Labelled:
    """A box in pixels of the frame (x1, y1, x2, y2); the truth's confidence is 1."""

    class_id: int
    box: tuple[float, float, float, float]
    confidence: float = 1.0


@dataclass(frozen=True)
class TruthFrame:
    """What a camera sent: `frame_number` counts the world's frames over all connections."""

    camera: str
    frame_id: str
    frame_number: int
    drift: dict[str, float]
    boxes: tuple[Labelled, ...]
    sent_at: float


@dataclass(frozen=True)
class OutputFrame:
    """What a device made of a frame, and which build it used.

    Attributes:
        unserved: what it saw below the build's serving thresholds; mAP is taken over these too.
    """

    camera: str
    frame_id: str
    captured_at: float
    result_at: float
    bundle_digest: str
    version: int
    latency_ms: float
    detections: tuple[Labelled, ...]
    unserved: tuple[Labelled, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A frame with both: what was in it and what was seen in it."""

    truth: TruthFrame
    output: OutputFrame


def read_truth(path: Path) -> list[TruthFrame]:
    """A camera's truth log, in the order in which it was sent."""
    return [
        TruthFrame(
            camera=line["camera"],
            frame_id=f"{line['connection']}-{line['index']}",
            frame_number=line["frame_number"],
            drift=line["drift"],
            boxes=tuple(Labelled(int(c), (x1, y1, x2, y2)) for c, x1, y1, x2, y2 in line["boxes"]),
            sent_at=line["sent_at"],
        )
        for line in _lines(path)
    ]


def read_outputs(path: Path) -> list[OutputFrame]:
    """A device's detections, rotated parts (`.N` … `.1`) first, in the order of the results."""
    parts = sorted(
        (p for p in path.parent.glob(f"{path.name}.*") if p.suffix[1:].isdecimal()),
        key=lambda p: -int(p.suffix[1:]),
    )
    return [
        OutputFrame(
            camera=line["camera"],
            frame_id=line["frame_id"],
            captured_at=line["captured_at"],
            result_at=line["result_at"],
            bundle_digest=line["bundle_digest"],
            version=line["version"],
            latency_ms=line["latency_ms"],
            detections=read_boxes(line["detections"]),
            unserved=read_boxes(line.get("unserved", ())),
        )
        for part in (*parts, path)
        for line in _lines(part)
    ]


def read_boxes(detections: Iterable[dict[str, Any]]) -> tuple[Labelled, ...]:
    """Detections as the device and `argosy-agent evaluate` write them."""
    return tuple(
        Labelled(
            d["class_id"], (d["box"][0], d["box"][1], d["box"][2], d["box"][3]), d["confidence"]
        )
        for d in detections
    )


def pair(truth: Iterable[TruthFrame], outputs: Iterable[OutputFrame]) -> list[Pair]:
    """Outputs with the truth of their frame, in the order of the outputs.

    Raises:
        KeyError: an output of a frame that no camera sent.
    """
    by_id = {frame.frame_id: frame for frame in truth}
    return [Pair(by_id[output.frame_id], output) for output in outputs]


def far_from(pairs: Sequence[Pair], harvested: Collection[str], distance_frames: int) -> list[Pair]:
    """Pairs at least `distance_frames` of the world away from every harvested frame.

    A neighbour of a frame that was trained on shows nearly the same, so measuring on it
    would flatter the new version.
    """
    taken = sorted(p.truth.frame_number for p in pairs if p.truth.frame_id in harvested)
    near = {n + d for n in taken for d in range(-distance_frames + 1, distance_frames)}
    return [p for p in pairs if p.truth.frame_number not in near]


def _lines(path: Path) -> Iterator[Any]:
    """Parsed lines of a JSONL file; a last line that was cut off by the end is left out."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
