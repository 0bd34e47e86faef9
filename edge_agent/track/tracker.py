"""One camera's objects from frame to frame, as ByteTrack follows them.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV
2022. What the build serves is matched first, with all tracks that are expected; what it
does not serve then goes on tracks that were seen a moment ago, because an object half
hidden is still there; only what is served begins a track. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Floats, Ints
from edge_agent.track.association import Indexes, assign, distinct, overlaps
from edge_agent.track.motion import Doubles, Motion, born, measured
from edge_agent.track.settings import TrackingSection

Mask = npt.NDArray[np.bool_]

UNTRACKED = -1
ANY_CLASS = -1


@dataclass(frozen=True)
class Seen:
    """What a frame shows.

    Attributes:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels.
        confidences: float32 (N,).
        class_ids: int32 (N,).
        served: bool (N,): which may begin a track.
    """

    boxes: Floats
    confidences: Floats
    class_ids: Ints
    served: Mask


_NOTHING = Seen(
    np.empty((0, 4), np.float32),
    np.empty(0, np.float32),
    np.empty(0, np.int32),
    np.empty(0, np.bool_),
)


@dataclass(frozen=True)
class Tracks:
    """T objects that are followed; all arrays have T rows.

    Attributes:
        ids: UNTRACKED until an object is confirmed.
        class_ids: of the last served detection; ANY_CLASS where the model has changed since.
        frames: how many frames showed it.
        seen_s: when it was seen last, monotonic.
        in_sight: whether the last frame showed it.
    """

    motion: Motion
    ids: Ints
    class_ids: Ints
    frames: Ints
    seen_s: Doubles
    in_sight: Mask

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, chosen: Mask) -> Tracks:
        return Tracks(
            self.motion[chosen],
            self.ids[chosen],
            self.class_ids[chosen],
            self.frames[chosen],
            self.seen_s[chosen],
            self.in_sight[chosen],
        )

    def joined(self, other: Tracks) -> Tracks:
        return Tracks(
            self.motion.joined(other.motion),
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.class_ids, other.class_ids]),
            np.concatenate([self.frames, other.frames]),
            np.concatenate([self.seen_s, other.seen_s]),
            np.concatenate([self.in_sight, other.in_sight]),
        )


class Tracker:
    """Gives detections ids from 1 up; an id is never given twice.

    A call that raises leaves it as it was.
    """

    def __init__(self, settings: TrackingSection) -> None:
        self._settings = settings
        self._next_id = 1
        self._tracks = _new(_NOTHING, np.empty(0, np.intp), 0.0)

    def forget(self) -> None:
        """End all tracks: what comes next is another scene."""
        self._tracks = self._tracks[np.zeros(len(self._tracks), np.bool_)]

    def forget_classes(self) -> None:
        """Keep where objects are and how they move, and let the next detection say what."""
        ids = np.full_like(self._tracks.class_ids, ANY_CLASS)
        self._tracks = replace(self._tracks, class_ids=ids)

    def update(self, seen: Seen, steps: int, now_s: float) -> Ints:
        """Which object each detection is, int32 (N,); UNTRACKED where none.

        Args:
            steps: frames of the source since the last call, this one included.
            now_s: when the frame was captured, monotonic.
        """
        expected = self._expected(steps, now_s)
        owners = self._match(expected, seen)
        found = np.flatnonzero(owners >= 0)
        updated = self._corrected(expected, seen, owners, found, now_s)
        room = self._settings.tracks_max - len(updated)
        born_of = self._fresh(seen, owners)[: max(room, 0)]
        updated = updated.joined(_new(seen, born_of, now_s))
        # New tracks lie behind all others, in the order of their detections.
        owners[born_of] = len(updated) - len(born_of) + np.arange(len(born_of))
        confirmed, next_id = self._confirmed(updated)
        ids = np.full(len(owners), UNTRACKED, np.int32)
        ids[owners >= 0] = confirmed.ids[owners[owners >= 0]]
        # One that was shown too seldom to have an id yet ends with the first frame without it.
        self._tracks = confirmed[(confirmed.ids != UNTRACKED) | confirmed.in_sight]
        self._next_id = next_id
        return ids

    def _expected(self, steps: int, now_s: float) -> Tracks:
        """The tracks that are not out of sight for too long, where they should be now."""
        alive = self._tracks[now_s - self._tracks.seen_s <= self._settings.gap_s]
        return replace(alive, motion=alive.motion.predicted(steps, ~alive.in_sight))

    def _match(self, tracks: Tracks, seen: Seen) -> Indexes:
        """The row of each detection's track (N,), -1 where it has none."""
        settings = self._settings
        owners = np.full(len(seen.confidences), -1, np.intp)
        if not len(tracks) or not len(owners):
            return owners
        overlap = overlaps(tracks.motion.boxes(), seen.boxes.astype(np.float64))
        known, others = tracks.class_ids[:, None], seen.class_ids[None, :]
        differs = (known != others) & (known != ANY_CLASS)
        overlap = np.where(differs, overlap * settings.other_class_weight, overlap)
        low = ~seen.served & (seen.confidences >= settings.low_confidence_min)
        has_id = tracks.ids != UNTRACKED
        weighed = overlap * np.minimum(seen.confidences, 1.0)
        _pair(owners, weighed, has_id, seen.served, settings.overlap_min)
        _pair(owners, overlap, has_id & tracks.in_sight, low, settings.low_overlap_min)
        _pair(owners, weighed, ~has_id, seen.served, settings.new_overlap_min)
        return owners

    def _corrected(
        self, tracks: Tracks, seen: Seen, owners: Indexes, found: Indexes, now_s: float
    ) -> Tracks:
        rows = owners[found]
        in_sight = np.zeros(len(tracks), np.bool_)
        in_sight[rows] = True
        corrected = tracks.motion[rows].corrected(measured(seen.boxes[found]))
        served = found[seen.served[found]]
        class_ids = tracks.class_ids.copy()
        class_ids[owners[served]] = seen.class_ids[served]
        return Tracks(
            tracks.motion.with_rows(rows, corrected),
            tracks.ids,
            class_ids,
            tracks.frames + in_sight.astype(np.int32),
            np.where(in_sight, now_s, tracks.seen_s),
            in_sight,
        )

    def _fresh(self, seen: Seen, owners: Indexes) -> Indexes:
        """Served detections that show an object which no track and no better one shows."""
        owned = owners >= 0
        if not (seen.served & ~owned).any():
            return np.empty(0, np.intp)
        shown = owned | seen.served
        # What is owned comes first, so that a second box of it begins no track of its own.
        rank = np.where(shown, seen.confidences + owned, 0.0)
        kept = distinct(seen.boxes, rank, self._settings.same_overlap_min)
        candidates = np.zeros(len(owners), np.bool_)
        candidates[kept] = True
        return np.flatnonzero(candidates & seen.served & ~owned)

    def _confirmed(self, tracks: Tracks) -> tuple[Tracks, int]:
        """The tracks, with an id for those that were shown often enough; and the next id."""
        ready = (tracks.ids == UNTRACKED) & (tracks.frames >= self._settings.confirm_frames)
        next_id = self._next_id + int(ready.sum())
        ids = tracks.ids.copy()
        ids[ready] = np.arange(self._next_id, next_id)
        return replace(tracks, ids=ids), next_id


def _new(seen: Seen, chosen: Indexes, now_s: float) -> Tracks:
    """Tracks that begin with these detections."""
    count = len(chosen)
    return Tracks(
        born(measured(seen.boxes[chosen])),
        np.full(count, UNTRACKED, np.int32),
        seen.class_ids[chosen].astype(np.int32),
        np.ones(count, np.int32),
        np.full(count, now_s),
        np.ones(count, np.bool_),
    )


def _pair(owners: Indexes, similarity: Doubles, rows: Mask, columns: Mask, minimum: float) -> None:
    """Give detections in `columns` without an owner the best of the free tracks in `rows`."""
    taken = np.zeros(len(rows), np.bool_)
    taken[owners[owners >= 0]] = True
    free_rows, free_columns = np.flatnonzero(rows & ~taken), np.flatnonzero(columns & (owners < 0))
    if not len(free_rows) or not len(free_columns):
        return
    left, right = assign(similarity[np.ix_(free_rows, free_columns)], minimum)
    owners[free_columns[right]] = free_rows[left]
