"""What is desired of a slot: the build, and the way that it has to go before it serves."""

from __future__ import annotations

from pydantic import Field

from protocol.chunks import Sha256
from protocol.parts import SEQUENCE_MAX, Part, Score, Word


class MaintenanceWindow(Part):
    """When a slot may be exchanged: from each time of `cron` on, for `duration_s`.

    Attributes:
        cron: five fields, read on the clock of `time_zone` (an IANA name), whose summer time
            is kept: a fixed time that is left out opens when the clock has been moved, one that
            comes twice opens once; lines whose minute or hour begins with a star go by real time.
    """

    cron: Word
    duration_s: float = Field(gt=0, le=7 * 86_400)
    time_zone: Word = "UTC"


class ShadowPolicy(Part):
    """How a candidate is compared with the incumbent on live frames before it may serve.

    Attributes:
        share: of the frames that the candidate sees too, at most; less where the incumbent's
            rate would suffer.
        frames_min, detections_min: below either of them there is no verdict but INCONCLUSIVE.
        agreement_min: matched boxes (IoU 0.5, same class) of all boxes that either saw.
        class_flips_max: boxes that match under another class, of all that match.
        confidence_shift_max: the mean difference of calibrated confidence over matched boxes.
        latency_ratio_max: the candidate's median latency, of the incumbent's meanwhile.
        accepted: a person has seen an INCONCLUSIVE verdict and lets the attempt go on.
    """

    share: float = Field(default=0.2, gt=0, le=1)
    frames_min: int = Field(default=200, ge=1, le=10_000_000)
    detections_min: int = Field(default=50, ge=0, le=10_000_000)
    duration_max_s: float = Field(default=3600.0, gt=0, le=7 * 86_400)
    agreement_min: Score = 0.6
    class_flips_max: Score = 0.05
    confidence_shift_max: Score = 0.15
    latency_ratio_max: float = Field(default=2.0, gt=0, le=1000)
    accepted: bool = False


class SlotDesired(Part):
    """The build that one group of cameras should run, and for which rollout attempt.

    Attributes:
        floor: the lowest version of the model that may still serve; those below are revoked.
        hold: wait in PREPARED until a generation without it comes (all of a site swap at once).
        timeout_s: for the whole attempt, while the agent runs; None takes the device's limit.
    """

    bundle_digest: Sha256
    manifest_bytes: int = Field(gt=0)
    model: Word
    version: int = Field(ge=1)
    rollout_id: Word | None = None
    attempt: int = Field(default=1, ge=1, le=SEQUENCE_MAX)
    probation_s: float = Field(default=10.0, ge=0, le=86_400)
    floor: int = Field(default=1, ge=1)
    hold: bool = False
    shadow: ShadowPolicy | None = None
    window: MaintenanceWindow | None = None
    timeout_s: float | None = Field(default=None, gt=0, le=90 * 86_400)


class HarvestPolicy(Part):
    """What to send back and how much of it, per device."""

    enabled: bool = True
    images_per_hour: float = Field(default=60, ge=0)
    images_burst: int = Field(default=20, ge=0, le=100_000)
    bytes_per_hour: float = Field(default=50e6, ge=0)
    bytes_burst: int = Field(default=20_000_000, ge=0)
    random_share: float = Field(default=0.15, ge=0, le=1)
    uncertainty_min: Score = 0.35
