"""`argosy-agent evaluate`: a bundle over a list of images, answers as JSON lines."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge_agent.cameras.images import read_image
from edge_agent.detect.bundle import LoadedBundle, load_bundle
from edge_agent.detect.detector import Detections, detect
from edge_agent.detect.options import LoadOptions
from edge_agent.errors import BadImageError, EdgeError
from protocol.bundles import MANIFEST_PATH
from protocol.chunks import sha256_hex

FLOOR_FOR_SCORING = 0.001
LIST_BYTES_MAX = 64 * 1024 * 1024


def evaluate(
    bundle: Path, images: Path, out: Path, floor: float = FLOOR_FOR_SCORING, threads: int = 0
) -> int:
    """Run the bundle in folder `bundle` over the images that `images` lists, one path a line.

    Relative paths are relative to the list's folder. Writes one JSON line an image to `out`,
    whole or not at all. Images that cannot be read are named on stderr and left out; returns
    their number.

    Raises:
        EdgeError, ProtocolError: the bundle or the list cannot be used.
    """
    console = Console(stderr=True)
    paths = _listed(images)
    loaded = load_bundle(bundle, folder_digest(bundle), LoadOptions(threads, floor))
    partial = out.with_name(out.name + ".partial")
    unreadable = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with (
            partial.open("w", encoding="utf-8") as lines,
            Progress(*columns, TimeRemainingColumn(), console=console) as progress,
        ):
            for path in progress.track(paths, description=loaded.manifest.model):
                try:
                    lines.write(json.dumps(_answer(loaded, path), allow_nan=False) + "\n")
                except BadImageError as error:
                    unreadable += 1
                    console.print(f"left out: {error}", markup=False)
        partial.replace(out)
    except OSError as error:
        raise EdgeError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        loaded.detector.close()
        partial.unlink(missing_ok=True)
    return unreadable


def _listed(images: Path) -> list[Path]:
    try:
        if images.stat().st_size > LIST_BYTES_MAX:
            raise EdgeError(f"{images} is over {LIST_BYTES_MAX} bytes; split it")
        text = images.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"no list of images at {images}: {error}") from error
    paths = [images.parent / line.strip() for line in text.splitlines() if line.strip()]
    if not paths:
        raise EdgeError(f"{images} lists no image; write one path a line")
    return paths


def folder_digest(bundle: Path) -> str:
    """The bundle's name, from its own manifest: here the user vouches for the folder."""
    try:
        return sha256_hex((bundle / MANIFEST_PATH).read_bytes())
    except OSError as error:
        raise EdgeError(f"no bundle in {bundle}: {error.strerror}") from error


def _answer(loaded: LoadedBundle, path: Path) -> dict[str, Any]:
    image = read_image(path)
    started_s = time.monotonic()
    found = detect(loaded.detector, image)
    latency_ms = (time.monotonic() - started_s) * 1000
    height, width = image.shape[:2]
    return {
        "image": str(path),
        "width": width,
        "height": height,
        "detections": _rows(found),
        "latency_ms": round(latency_ms, 3),
    }


def _rows(found: Detections) -> list[dict[str, Any]]:
    rows = zip(
        found.class_ids.tolist(), found.confidences.tolist(), found.boxes.tolist(), strict=True
    )
    return [{"class_id": c, "confidence": p, "box": box} for c, p, box in rows]
