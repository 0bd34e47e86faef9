"""Samples: stored when their image is, never before.

The image comes by HTTP (`put_image`) or in MQTT chunks (`store_chunks`), before or after
the report that names it. A report without its image waits in the spool, unacknowledged.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from sqlmodel import Session

from cloud.access.principal import Principal, Role, require, require_device, service_principal
from cloud.annotation import service as annotation
from cloud.annotation.service import SampleIn
from cloud.blobs import service as blobs
from cloud.blobs.store import BlobStore
from cloud.database import after_commit
from cloud.errors import InvalidError, NotFoundError
from cloud.inbound import Received, Tally
from cloud.registry import service as registry
from cloud.telemetry.admission import Admission
from cloud.telemetry.models import Sample
from cloud.telemetry.sequences import Verdict
from cloud.telemetry.service import TALLY, insert_once
from cloud.telemetry.spool import SampleSpool
from protocol.chunks import BlobRef, Sha256
from protocol.messages import SampleReport, Tombstone
from protocol.topics import Kind, Topic

MEDIA_TYPE = "image/jpeg"
FORMATS = ("JPEG",)
WAITING = "waiting_for_image"


@dataclass(frozen=True)
class SampleStore:
    """Where images go, and the bounds on what is taken."""

    blobs: BlobStore
    spool: SampleSpool
    ranges_max: int
    image_bytes_max: int
    image_pixels_max: int

    def store_reports(self, session: Session, batch: Sequence[Received]) -> Tally:
        """Store samples whose image is there; let the others wait for it."""
        admission = Admission(session, "samples", batch, self.ranges_max)
        tally: Tally = Counter()
        rows = []
        for received in batch:
            message = received.message
            if isinstance(message, Tombstone):
                verdict = admission.admit(message)
                tally["tombstones" if verdict is Verdict.FRESH else TALLY[verdict]] += 1
            elif admission.has(message):
                tally["duplicates"] += 1
            elif (refusal := self._obtain_image(session, message)) == WAITING:
                tally[refusal] += 1
                self.spool.add_report(message, received.payload)
            elif refusal is not None:
                # For good: it is accounted for, or the device would send it for ever.
                tally[refusal] += 1
                admission.admit(message)
            else:
                verdict = admission.admit(message)
                tally[TALLY[verdict]] += 1
                if verdict is Verdict.FRESH:
                    rows.append(_row(message, received.payload))
                    _enqueue(session, message)
        insert_once(session, Sample, rows)
        admission.close()
        return tally

    def store_chunks(self, session: Session, batch: Sequence[Received]) -> Tally:
        """Keep chunks of images, and store the samples whose image they complete."""
        images: dict[tuple[str, str], float] = {}
        for received in batch:
            topic = received.topic
            self.spool.add_chunk(topic.device_id, topic.sha256, topic.index, received.payload)
            images[topic.device_id, topic.sha256] = received.at
        waiting = [
            report
            for (device_id, sha256), at in images.items()
            for report in self._waiting(device_id, sha256, at)
        ]
        return Counter(image_chunks=len(batch)) + (
            self.store_reports(session, waiting) if waiting else Counter()
        )

    def put_image(
        self, session: Session, principal: Principal, sha256: Sha256, data: bytes, at: float
    ) -> tuple[BlobRef, Tally]:
        """Store an image that a device sends, and the samples that waited for it.

        Raises:
            InvalidError: the digest is another, or it is no image.
        """
        device_id = require_device(principal)
        check_image(data, self.image_pixels_max)
        ref = self.blobs.put([data], expected_sha256=sha256, bytes_max=self.image_bytes_max)
        blobs.record(session, ref, MEDIA_TYPE)
        waiting = self._waiting(device_id, sha256, at)
        return ref, self.store_reports(session, waiting) if waiting else Counter()

    def _waiting(self, device_id: str, sha256: str, at: float) -> list[Received]:
        return [
            Received(Topic(Kind.SAMPLES, device_id=device_id), payload, report, at)
            for report, payload in self.spool.waiting(device_id, sha256)
        ]

    def _obtain_image(self, session: Session, report: SampleReport) -> str | None:
        """None when the report's image is stored; otherwise why it is not."""
        device_id, sha256 = report.device_id, report.image.sha256
        media_type = blobs.media_type(session, sha256)
        if media_type is None:
            if report.image.size_bytes > self.image_bytes_max:
                return "refused.image_too_large"
            data = self.spool.assemble(device_id, report.image)
            if data is None:
                return WAITING
            try:
                check_image(data, self.image_pixels_max)
            except InvalidError:
                self.spool.forget(device_id, sha256)
                return "refused.no_image"
            blobs.record(session, self.blobs.put([data]), MEDIA_TYPE)
        elif media_type != MEDIA_TYPE:
            return "refused.no_image"
        after_commit(session, lambda: self.spool.forget(device_id, sha256))
        return None


def check_image(data: bytes, pixels_max: int) -> None:
    """Raises InvalidError where `data` is no whole JPEG of at most `pixels_max` pixels."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > pixels_max:
                raise InvalidError(
                    f"the image has {image.width}x{image.height} pixels, over {pixels_max}",
                    "send a smaller one or raise limits.image_pixels_max",
                )
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidError(
            f"{len(data)} bytes are no whole JPEG image", "send the image anew"
        ) from error


def get_image(
    session: Session, principal: Principal, store: BlobStore, sample_id: str
) -> tuple[bytes, str]:
    """A sample's image and its media type. Raises NotFoundError where there is no sample."""
    require(principal, Role.VIEWER)
    row = session.get(Sample, sample_id)
    if row is None:
        raise NotFoundError(f"there is no sample {sample_id}", "GET /samples lists them")
    return store.read(row.image_sha256), MEDIA_TYPE


def _row(report: SampleReport, payload: bytes) -> dict[str, object]:
    return {
        "id": _sample_id(report),
        "device_id": report.device_id,
        "epoch": report.epoch,
        "sequence": report.sequence,
        "camera": report.camera,
        "slot": report.slot,
        "bundle_digest": report.bundle_digest,
        "image_sha256": report.image.sha256,
        "width": report.width,
        "height": report.height,
        "reason": report.reason,
        "selection_probability": report.selection_probability,
        "uncertainty": report.uncertainty,
        "frame_id": report.frame_id,
        "captured_at": report.captured_at,
        "payload": payload.decode(),
    }


def _sample_id(report: SampleReport) -> str:
    return f"{report.device_id}.{report.epoch}.{report.sequence}"


def _enqueue(session: Session, report: SampleReport) -> None:
    """Ask for annotation, in the words of the model that saw the image.

    A build that this hub does not know has no words, so its samples are only kept.
    """
    acting = service_principal("ingress", Role.VIEWER)
    try:
        build = registry.get_build(session, acting, report.bundle_digest)
        class_names = tuple(registry.get_model(session, acting, build.model).class_names)
    except NotFoundError:
        return
    annotation.enqueue_sample(
        session,
        SampleIn(
            sample_id=_sample_id(report),
            device_id=report.device_id,
            camera=report.camera,
            slot=report.slot,
            frame_id=report.frame_id,
            image_sha256=report.image.sha256,
            width=report.width,
            height=report.height,
            class_names=class_names,
            predictions=tuple(d.model_dump(mode="json") for d in report.detections),
            reason=report.reason,
            selection_probability=report.selection_probability,
            captured_at=report.captured_at,
        ),
    )
