"""How objects are followed, as agent.toml says it."""

from __future__ import annotations

from pydantic import Field

from edge_agent.section import Count, PositiveS, Section


class TrackingSection(Section):
    """Table `[tracking]`: the same for every camera that has `track = true`.

    Attributes:
        low_confidence_min: detections that are not served may go on a track from here up.
        gap_s: how long an object may be out of sight and keep its id.
        overlap_min: least overlap (IoU) of a served detection, weighed with its confidence,
            with where a track is expected.
        low_overlap_min: the same for a detection that is not served, unweighed.
        new_overlap_min: the same for the second detection of a new track.
        same_overlap_min: a detection that overlaps another so much shows the same object, and
            begins no track beside it: a model without NMS answers twice now and then.
        other_class_weight: what overlap counts where the classes differ; 1 ignores classes.
        confirm_frames: successive frames that an object must be seen in to get an id.
        tracks_max: objects that are followed at once in one camera.
    """

    low_confidence_min: float = Field(default=0.1, ge=0, le=1)
    gap_s: PositiveS = 1.0
    overlap_min: float = Field(default=0.2, gt=0, lt=1)
    low_overlap_min: float = Field(default=0.5, gt=0, lt=1)
    new_overlap_min: float = Field(default=0.3, gt=0, lt=1)
    same_overlap_min: float = Field(default=0.8, gt=0, le=1)
    other_class_weight: float = Field(default=0.5, ge=0, le=1)
    confirm_frames: Count = 2
    tracks_max: int = Field(default=300, ge=1, le=10_000)
