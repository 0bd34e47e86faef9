"""A frame's result as JSON can carry it, the same for every output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edge_agent.results import FrameResult


def record(result: FrameResult, *, unserved: bool = False) -> dict[str, Any]:
    """One frame: who saw what with which build, and when.

    Args:
        unserved: add what the build saw below its serving thresholds, apart.
    """
    line = frame_part(result) | {
        "detections": detection_parts(result, np.flatnonzero(result.served))
    }
    if unserved:
        line["unserved"] = detection_parts(result, np.flatnonzero(~result.served))
    return line


def frame_part(result: FrameResult) -> dict[str, Any]:
    """Which frame, and which build answered, without what was found."""
    frame = result.frame
    part: dict[str, Any] = {
        "camera": result.camera,
        "frame_id": frame.frame_id,
        "connection": frame.connection,
        "index": frame.index,
        "captured_at": frame.captured_at,
        "result_at": result.result_at,
        "slot": result.slot,
        "bundle_digest": result.bundle_digest,
        "model": result.model,
        "version": result.version,
        "width": frame.width,
        "height": frame.height,
        "latency_ms": round(result.latency_ms, 3),
    }
    if frame.file is not None:
        part["file"] = frame.file
    return part


def detection_parts(result: FrameResult, indexes: Iterable[int]) -> list[dict[str, Any]]:
    """The detections at `indexes`; `track_id` where the camera is tracked and the object known."""
    names, found, tracks = result.manifest.class_names, result.detections, result.track_ids
    parts = []
    for i in indexes:
        class_id = int(found.class_ids[i])
        part: dict[str, Any] = {
            "class_id": class_id,
            "class_name": names[class_id],
            "confidence": float(found.confidences[i]),
            "box": found.boxes[i].tolist(),
        }
        if tracks is not None and tracks[i] >= 0:
            part["track_id"] = int(tracks[i])
        parts.append(part)
    return parts
