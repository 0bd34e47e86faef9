"""The sink that sends images back: scores a frame, asks the sampler, encodes the chosen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

import numpy as np

from edge_agent.cameras.source import Image
from edge_agent.errors import EdgeError
from edge_agent.harvest.diversity import dhash
from edge_agent.harvest.sampler import Choice, Sampler
from edge_agent.harvest.scores import confidence_uncertainty
from edge_agent.results import FrameResult
from protocol.messages import DetectedBox, HarvestPolicy

Reason = Literal["uncertain", "random", "snapshot", "disagreement"]

JPEG_QUALITY = 92
DETECTIONS_MAX = 300


@dataclass(frozen=True)
class HarvestedSample:
    """An image chosen to be sent back; the fields are those of protocol SampleReport.

    Attributes:
        jpeg: the frame as captured, encoded.
        detections: all at or above the floor, most confident first.
    """

    camera: str
    slot: str
    bundle_digest: str
    jpeg: bytes
    width: int
    height: int
    reason: Reason
    selection_probability: float
    uncertainty: float
    frame_id: str
    captured_at: float
    detections: tuple[DetectedBox, ...]


class HarvestSink:
    """Sink `harvest`; `set_policy` and `disagreed` may be called by any thread, the rest by the
    delivery's."""

    name = "harvest"

    def __init__(
        self, policy: HarvestPolicy, rng: Random, emit: Callable[[HarvestedSample], None]
    ) -> None:
        self._policy, self._rng, self._emit = policy, rng, emit
        self._wanted = policy
        self._sampler: Sampler | None = None
        self._lock = threading.Lock()

    def set_policy(self, policy: HarvestPolicy) -> None:
        """Use another policy from the next frame on; the same one again changes nothing."""
        self._wanted = policy

    def take(self, result: FrameResult) -> None:
        uncertainty = confidence_uncertainty(result.calibrated)
        now_s = result.result_monotonic
        with self._lock:
            choice = self._ready(now_s).choose(
                result.camera, uncertainty, now_s, lambda: dhash(result.inner)
            )
        self._send(result, choice, uncertainty)

    def disagreed(self, result: FrameResult, share: float) -> None:
        """Offer a frame at which a candidate saw otherwise than the incumbent's `result`.

        `share` (0..1, above 0) is how likely it was that the candidate looked at it.
        Raises EdgeError where the frame cannot be encoded.
        """
        # Not under the lock: the caller has the lowest priority, and the delivery would wait.
        fingerprint = dhash(result.inner)
        now_s = result.result_monotonic
        with self._lock:
            sampler = self._ready(now_s)
            choice = sampler.choose_disagreement(result.camera, share, now_s, fingerprint)
        self._send(result, choice, confidence_uncertainty(result.calibrated))

    def _send(self, result: FrameResult, choice: Choice | None, uncertainty: float) -> None:
        """Encode a chosen frame, pay for it, hand it on."""
        if choice is None:
            return
        sample = _sample(result, choice.reason, choice.selection_probability, uncertainty)
        with self._lock:
            paid = self._sampler is not None and self._sampler.pay(choice, len(sample.jpeg))
        if paid:
            self._emit(sample)

    def tick(self, now_s: float) -> None:
        """Nothing is due by time."""

    def close(self) -> None:
        """Nothing is held."""

    def _ready(self, now_s: float) -> Sampler:
        """The sampler, under the policy that is wanted now."""
        wanted = self._wanted
        if self._sampler is None:
            self._sampler = Sampler(wanted, now_s, self._rng)
        elif wanted != self._policy:
            self._sampler.set_policy(wanted, now_s)
        self._policy = wanted
        return self._sampler


def snapshot(result: FrameResult) -> HarvestedSample:
    """The frame of `result` as a sample that was asked for."""
    return _sample(result, "snapshot", 1.0, confidence_uncertainty(result.calibrated))


def _sample(
    result: FrameResult, reason: Reason, probability: float, uncertainty: float
) -> HarvestedSample:
    frame = result.frame
    return HarvestedSample(
        camera=result.camera,
        slot=result.slot,
        bundle_digest=result.bundle_digest,
        jpeg=encode_jpeg(frame.image),
        width=frame.width,
        height=frame.height,
        reason=reason,
        selection_probability=probability,
        uncertainty=uncertainty,
        frame_id=frame.frame_id,
        captured_at=frame.captured_at,
        detections=_boxes(result),
    )


def _boxes(result: FrameResult) -> tuple[DetectedBox, ...]:
    found = result.detections
    rows = zip(
        found.class_ids.tolist(), found.confidences.tolist(), found.boxes.tolist(), strict=True
    )
    return tuple(
        DetectedBox(class_id=class_id, confidence=min(confidence, 1.0), box=tuple(box))
        for class_id, confidence, box in list(rows)[:DETECTIONS_MAX]
    )


def encode_jpeg(image: Image) -> bytes:
    """JPEG of a uint8 (H, W, 3) BGR image. Raises EdgeError where it cannot be encoded."""
    import cv2

    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise EdgeError(f"a frame of {image.shape} could not be encoded as JPEG")
    return np.asarray(data).tobytes()
