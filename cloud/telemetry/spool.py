"""Images that come in chunks, before a report names them.

A chunk of an unknown image cannot be verified, so it is kept within bounds per device;
the oldest image goes first. Reports that came before their image wait here too. All of
it may be lost at any time: nothing here has been acknowledged.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from protocol.chunks import BlobRef, verify_blob, verify_chunk
from protocol.errors import ProtocolError
from protocol.messages import SampleReport

ENTRY_BYTES = 256
"""What an entry costs beside its bytes, so that many small ones are bounded too."""


@dataclass
class _Image:
    chunks: dict[int, bytes] = field(default_factory=dict)
    reports: dict[tuple[str, int], tuple[SampleReport, bytes]] = field(default_factory=dict)
    size_bytes: int = 0
    """Never less than what is held; a chunk that is replaced or dropped is not taken off."""

    def charge(self, data: bytes) -> int:
        cost = len(data) + ENTRY_BYTES
        self.size_bytes += cost
        return cost


@dataclass
class _Device:
    images: OrderedDict[str, _Image] = field(default_factory=OrderedDict)
    size_bytes: int = 0

    def drop(self, sha256: str) -> None:
        image = self.images.pop(sha256, None)
        self.size_bytes -= image.size_bytes if image else 0


class SampleSpool:
    """Chunks and waiting reports by device and image. Safe to use from many threads."""

    def __init__(self, *, bytes_max: int, images_max: int) -> None:
        self._bytes_max = bytes_max
        self._images_max = images_max
        self._lock = threading.Lock()
        self._devices: dict[str, _Device] = {}

    def add_chunk(self, device_id: str, sha256: str, index: int, data: bytes) -> None:
        """Keep a chunk; what is over the device's bounds goes, oldest image first."""
        with self._lock:
            self._image(device_id, sha256, data).chunks[index] = data
            self._bound(device_id)

    def add_report(self, report: SampleReport, payload: bytes) -> None:
        """Keep a report until its image is there."""
        with self._lock:
            image = self._image(report.device_id, report.image.sha256, payload)
            image.reports[report.epoch, report.sequence] = (report, payload)
            self._bound(report.device_id)

    def waiting(self, device_id: str, sha256: str) -> list[tuple[SampleReport, bytes]]:
        """Reports of the device that wait for this image, in the order of their sequence."""
        with self._lock:
            image = self._find(device_id, sha256)
            return [] if image is None else [image.reports[key] for key in sorted(image.reports)]

    def assemble(self, device_id: str, ref: BlobRef) -> bytes | None:
        """The image's bytes when every chunk is there and right; wrong chunks are dropped."""
        with self._lock:
            image = self._find(device_id, ref.sha256)
            if image is None:
                return None
            for index, data in list(image.chunks.items()):
                if not _right(ref, index, data):
                    del image.chunks[index]
            if len(image.chunks) < len(ref.chunks):
                return None
            data = b"".join(image.chunks[index] for index in range(len(ref.chunks)))
        try:
            return verify_blob(ref.sha256, data)
        except ProtocolError:
            self.forget(device_id, ref.sha256)
            return None

    def forget(self, device_id: str, sha256: str) -> None:
        """Drop an image and its reports: they are stored, or worthless."""
        with self._lock:
            device = self._devices.get(device_id)
            if device is not None:
                device.drop(sha256)
                if not device.images:
                    del self._devices[device_id]

    def _find(self, device_id: str, sha256: str) -> _Image | None:
        device = self._devices.get(device_id)
        return None if device is None else device.images.get(sha256)

    def _image(self, device_id: str, sha256: str, data: bytes) -> _Image:
        """The image that `data` belongs to, charged for it."""
        device = self._devices.setdefault(device_id, _Device())
        image = device.images.setdefault(sha256, _Image())
        device.size_bytes += image.charge(data)
        return image

    def _bound(self, device_id: str) -> None:
        device = self._devices[device_id]
        while device.images and (
            device.size_bytes > self._bytes_max or len(device.images) > self._images_max
        ):
            device.drop(next(iter(device.images)))


def _right(ref: BlobRef, index: int, data: bytes) -> bool:
    try:
        verify_chunk(ref, index, data)
    except ProtocolError:
        return False
    return True
