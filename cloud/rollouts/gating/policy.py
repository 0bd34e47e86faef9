"""What a wave has to show of how well the new build sees, before the next one begins."""

from __future__ import annotations

from pydantic import Field

from cloud.rollouts.request.bodies import Body, Reaction, Seconds
from protocol.parts import Score


class GatePolicy(Body):
    """The margins within which a wave's cameras must be shown to see as well as before.

    Each figure is compared with that same camera's own before the exchange. PASS: every figure
    is shown to be within its margin; FAIL: one is shown to be beyond it; else INCONCLUSIVE,
    which holds, and after `deadline_s` asks a person.

    Attributes:
        frames_min, detections_min: of the wave after the exchange; below either of them it is
            not judged how well it sees. Detections that are likely right: the sum of calibrated
            confidences.
        camera_frames_min: a camera with fewer frames on either side is left out.
        camera_factor: a single camera fails the wave beyond this many times a margin: builds
            of the same worth differ from camera to camera.
        baseline_s: how far back a camera's own baseline reaches.
        every_s: between two looks.
        deadline_s: from the end of the wave's soak; then a person is asked.
        alpha: of all looks together: of passing what is beyond a margin, and of failing what
            is as good.
        confidence_drop_max: of the mean calibrated confidence, each detection weighed by the
            square of its own. 0.05 mAP50 cost 0.03 to 0.05 of it.
        confidence_harm_min: a smaller fall of it fails no wave: two calibrators, each right on its
            own images, may differ by so much. Beyond `confidence_drop_max` it is INCONCLUSIVE.
        detections_drop_max: share of the detections per frame that are likely right. How many
            things come by is the scene's: less than this is hardly shown within an hour.
        class_mix_shift_max: total variation distance between the shares of the classes.
        p95_latency_ratio_max: of the 95th percentile of inference time.
        dropped_rise_max: of the share of captured frames that were dropped.
        restarts_max: more starts than this of a device after the exchange fail it.
        overrides_max: devices at which somebody went back by hand, or said "not now".
        shadow_agreement_min: of the boxes of both builds on the same frames, where a shadow ran.
        on_fail: what follows on FAIL.
    """

    frames_min: int = Field(default=500, ge=1, le=100_000_000)
    detections_min: int = Field(default=100, ge=1, le=100_000_000)
    camera_frames_min: int = Field(default=200, ge=1, le=100_000_000)
    camera_factor: float = Field(default=5.0, ge=1, le=100)
    baseline_s: float = Field(default=86_400.0, gt=0, le=30 * 86_400)
    every_s: float = Field(default=30.0, gt=0, le=86_400)
    deadline_s: Seconds = 3600.0
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    confidence_drop_max: Score = 0.02
    confidence_harm_min: Score = 0.08
    detections_drop_max: Score = 0.2
    class_mix_shift_max: Score = 0.15
    p95_latency_ratio_max: float = Field(default=1.25, ge=1, le=1000)
    dropped_rise_max: Score = 0.02
    restarts_max: int = Field(default=2, ge=0, le=1000)
    overrides_max: int = Field(default=0, ge=0, le=100_000)
    shadow_agreement_min: Score = 0.6
    on_fail: Reaction = "revert"
