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


@dataclass
class _Image:
    chunks: dict[int, bytes] = field(default_factory=dict)
    reports: dict[tuple[str, int], tuple[SampleReport, bytes]] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.chunks.values())) + sum(len(p) for _, p in self.reports.values())


class SampleSpool:
    """Chunks and waiting reports by device and image. Safe to use from many threads."""

    def __init__(self, *, bytes_max: int, images_max: int) -> None:
        self._bytes_max = bytes_max
        self._images_max = images_max
        self._lock = threading.Lock()
        self._devices: dict[str, OrderedDict[str, _Image]] = {}

    def add_chunk(self, device_id: str, sha256: str, index: int, data: bytes) -> None:
        """Keep a chunk; what is over the device's bounds goes, oldest image first."""
        with self._lock:
            self._image(device_id, sha256).chunks[index] = data
            self._bound(device_id)

    def add_report(self, report: SampleReport, payload: bytes) -> None:
        """Keep a report until its image is there."""
        with self._lock:
            image = self._image(report.device_id, report.image.sha256)
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
            images = self._devices.get(device_id)
            if images is not None:
                images.pop(sha256, None)
                if not images:
                    del self._devices[device_id]

    def _find(self, device_id: str, sha256: str) -> _Image | None:
        images = self._devices.get(device_id)
        return None if images is None else images.get(sha256)

    def _image(self, device_id: str, sha256: str) -> _Image:
        return self._devices.setdefault(device_id, OrderedDict()).setdefault(sha256, _Image())

    def _bound(self, device_id: str) -> None:
        images = self._devices[device_id]
        sizes = {sha256: image.size_bytes for sha256, image in images.items()}
        total = sum(sizes.values())
        while images and (total > self._bytes_max or len(images) > self._images_max):
            sha256, _ = images.popitem(last=False)
            total -= sizes[sha256]


def _right(ref: BlobRef, index: int, data: bytes) -> bool:
    try:
        verify_chunk(ref, index, data)
    except ProtocolError:
        return False
    return True
