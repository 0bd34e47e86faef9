"""The tracking stage: results of tracked cameras get track ids before the sinks see them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edge_agent.results import FrameResult
from edge_agent.track.settings import TrackingSection
from edge_agent.track.tracker import Seen, Tracker


@dataclass
class _Followed:
    """A camera's tracker, and the result that it saw last."""

    tracker: Tracker
    last: FrameResult | None = None


class TrackingStage:
    """Adds `track_ids` to the results of `cameras`; the others pass as they are.

    Ids are unique per camera and never used again within a run. A new connection or picture
    size is a new scene: all tracks end. A model with other class names takes the tracks over
    by where they are, and says anew what they are.
    """

    def __init__(self, cameras: Iterable[str], settings: TrackingSection) -> None:
        self._followed = {camera: _Followed(Tracker(settings)) for camera in cameras}

    def __call__(self, result: FrameResult) -> FrameResult:
        followed = self._followed.get(result.camera)
        if followed is None:
            return result
        steps = _prepare(followed.tracker, followed.last, result)
        followed.last = result
        found = result.detections
        seen = Seen(found.boxes, found.confidences, found.class_ids, result.served)
        ids = followed.tracker.update(seen, steps, result.frame.captured_monotonic)
        return replace(result, track_ids=ids)


def _prepare(tracker: Tracker, last: FrameResult | None, result: FrameResult) -> int:
    """Drop what does not hold for this frame; the source's frames since the last result.

    Frames are counted rather than timed: a file is not read at its own pace, and a network
    delivers in bursts.
    """
    if last is None:
        return 1
    before, now = last.frame, result.frame
    if (before.connection, before.image.shape) != (now.connection, now.image.shape):
        tracker.forget()
        return 1
    if last.manifest.class_names != result.manifest.class_names:
        tracker.forget_classes()
    return max(now.index - before.index, 1)
