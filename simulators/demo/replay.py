"""The frames of the last window once more, for versions that were not running then.

A scene renders the same frame again from its number and its drift, and the same encoder
makes the same JPEG of it, so a version that was never rolled out can be measured on exactly
the pictures that the running one was given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from protocol.bundles import MANIFEST_PATH, Manifest, read_manifest
from simulators.checkers.records import Labelled, Pair, read_boxes
from simulators.checkers.scoring import Run
from simulators.dataset import JPEG_QUALITY
from simulators.demo.record import Watched
from simulators.scenes import SCENES, Drift

FrameKey = tuple[str, int]
"""Camera and frame number."""


@dataclass(frozen=True)
class Replay:
    """What one version sees in the replayed frames: what it would serve, and what lies below."""

    cameras: tuple[str, ...]
    seen: dict[FrameKey, tuple[Labelled, ...]]
    unserved: dict[FrameKey, tuple[Labelled, ...]]


def render_again(
    watched: Iterable[Watched], pairs: Mapping[str, Sequence[Pair]], folder: Path
) -> dict[FrameKey, Path]:
    """Write the frames of `pairs` as their cameras sent them; the path of each."""
    written: dict[FrameKey, Path] = {}
    for camera in watched:
        scene = SCENES[camera.scene](camera.seed)
        (folder / camera.camera).mkdir(parents=True, exist_ok=True)
        for found in pairs[camera.camera]:
            number = found.truth.frame_number
            image, _ = scene.render(number, Drift(**found.truth.drift))
            path = folder / camera.camera / f"{number}.jpg"
            cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            written[camera.camera, number] = path
    return written


def replay(bundle: Path, images: Mapping[FrameKey, Path], folder: Path, run: Run) -> Replay:
    """What the build in `bundle` sees in `images`, computed by the agent's own detector."""
    folder.mkdir(parents=True, exist_ok=True)
    listing, predictions = folder / "images.txt", folder / "predictions.jsonl"
    listing.write_text("".join(f"{path.resolve()}\n" for path in images.values()))
    arguments = ["evaluate", "--bundle", str(bundle), "--images", str(listing)]
    run("evaluate", [*arguments, "--out", str(predictions)])
    manifest = read_manifest((bundle / MANIFEST_PATH).read_bytes())
    rows = {line["image"]: line for line in map(json.loads, predictions.read_text().splitlines())}
    boxes = {key: read_boxes(rows[str(p.resolve())]["detections"]) for key, p in images.items()}
    return Replay(
        cameras=tuple(dict.fromkeys(camera for camera, _ in images)),
        seen={key: _part(found, manifest, served=True) for key, found in boxes.items()},
        unserved={key: _part(found, manifest, served=False) for key, found in boxes.items()},
    )


def _part(boxes: tuple[Labelled, ...], manifest: Manifest, *, served: bool) -> tuple[Labelled, ...]:
    """The boxes that reach their class's serving threshold, or those that do not."""
    limits = manifest.thresholds
    return tuple(b for b in boxes if (b.confidence >= limits.of(b.class_id)) is served)
