"""What happened in a run, as data: kept in `run.json`, so that a report can be drawn again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Stage:
    """A chapter of the story. Times are seconds since the epoch."""

    key: str
    title: str
    started_at: float
    ended_at: float | None = None
    note: str = ""


@dataclass
class Mark:
    """A moment that the plots name."""

    at: float
    kind: str
    text: str
    cameras: list[str] = field(default_factory=list)


@dataclass
class Watched:
    """A camera with the device that watches it, and where truth and output lie."""

    camera: str
    device: str
    model: str
    scene: str
    seed: int
    truth: str
    output: str
    data_dir: str
    class_names: list[str] = field(default_factory=list)


@dataclass
class VersionMade:
    """A trained version: what it was for, where it lies, how it scored at the hub."""

    role: str
    model: str
    number: int
    digest: str
    training_s: float
    size_bytes: int
    map50_exported: float | None = None


@dataclass
class Record:
    """Everything that the measuring and the report need, beside truth logs and outputs."""

    plan: str
    seed: int
    started_at: float
    ended_at: float | None = None
    stages: list[Stage] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    cameras: list[Watched] = field(default_factory=list)
    windows: dict[str, tuple[float, float]] = field(default_factory=dict)
    versions: list[VersionMade] = field(default_factory=list)
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    devices: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    samples_annotated: int = 0
    last_label_at: float | None = None

    def mark(self, at: float, kind: str, text: str, *cameras: str) -> None:
        self.marks.append(Mark(at, kind, text, list(cameras)))

    def version(self, role: str) -> VersionMade:
        """The version that was made as `role`. Raises KeyError."""
        for made in self.versions:
            if made.role == role:
                return made
        raise KeyError(role)

    def watched(self, camera: str) -> Watched:
        """The camera of that name. Raises KeyError."""
        for found in self.cameras:
            if found.camera == camera:
                return found
        raise KeyError(camera)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Record:
        raw = json.loads(path.read_text())
        raw["stages"] = [Stage(**s) for s in raw["stages"]]
        raw["marks"] = [Mark(**m) for m in raw["marks"]]
        raw["cameras"] = [Watched(**c) for c in raw["cameras"]]
        raw["versions"] = [VersionMade(**v) for v in raw["versions"]]
        raw["windows"] = {name: (a, b) for name, (a, b) in raw["windows"].items()}
        return cls(**raw)
