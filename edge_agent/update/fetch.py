"""Carries out a download: chunks from MQTT as they come, from HTTP when they do not.

What has arrived lies in `partial/<slot>/<sha256>`, each chunk at its offset. Nothing is
written down about which chunks are there: on a start every chunk is read and held against
its digest, so a torn write or a lying file is merely a chunk that is still lacking.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from edge_agent.errors import EdgeError
from edge_agent.link.http import Span
from edge_agent.update.download import Ask, Download, Timing, manifest_chunks
from edge_agent.update.download_pace import Pace
from protocol.chunks import CHUNK_BYTES, BlobRef, verify_blob, verify_chunk
from protocol.errors import ProtocolError
from protocol.messages import BlobWant

HTTP_READ_BYTES_MAX = 4 * 1024 * 1024

log = structlog.get_logger(__name__)


class Blob(Protocol):
    """Where the chunks of one blob go."""

    count: int

    def span(self, index: int) -> tuple[int, int]:
        """Offset and length of a chunk (a manifest's last one may be asked for too long)."""

    def write(self, index: int, data: bytes) -> None:
        """Keep a chunk. Raises ProtocolError where it is not the one that belongs there."""

    def finish(self) -> None:
        """All chunks are here. Raises ProtocolError where the whole is wrong."""


class ManifestBlob:
    """A manifest in memory: only its digest and size are known, so it is checked whole."""

    def __init__(self, sha256: str, size_bytes: int) -> None:
        self.sha256, self.size_bytes = sha256, size_bytes
        self.count = manifest_chunks(size_bytes)
        self._pieces: dict[int, bytes] = {}
        self.data = b""

    def span(self, index: int) -> tuple[int, int]:
        offset = index * CHUNK_BYTES
        return offset, min(CHUNK_BYTES, self.size_bytes - offset)

    def write(self, index: int, data: bytes) -> None:
        if len(data) != self.span(index)[1]:
            raise ProtocolError(f"manifest chunk {index} has {len(data)} bytes")
        self._pieces[index] = data

    def finish(self) -> None:
        pieces, self._pieces = self._pieces, {}
        self.data = verify_blob(self.sha256, b"".join(pieces[i] for i in range(self.count)))


class FileBlob:
    """A blob in a file of its full size, each chunk at its offset."""

    def __init__(self, ref: BlobRef, path: Path) -> None:
        """Reserve the room on the disk. Raises OSError where there is none."""
        self.ref, self.path, self.count = ref, path, len(ref.chunks)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if ref.size_bytes:
                os.posix_fallocate(descriptor, 0, ref.size_bytes)
            os.ftruncate(descriptor, ref.size_bytes)
        finally:
            os.close(descriptor)

    def held(self) -> set[int]:
        """The chunks that are there and right, found by reading all."""
        found = set()
        with self.path.open("rb") as file:
            for index, chunk in enumerate(self.ref.chunks):
                data = file.read(chunk.length)
                try:
                    verify_chunk(self.ref, index, data)
                except ProtocolError:
                    continue
                found.add(index)
        return found

    def span(self, index: int) -> tuple[int, int]:
        chunk = self.ref.chunks[index]
        return chunk.offset, chunk.length

    def write(self, index: int, data: bytes) -> None:
        chunk = verify_chunk(self.ref, index, data)
        with self.path.open("r+b") as file:
            file.seek(chunk.offset)
            file.write(data)

    def finish(self) -> None:
        """Each chunk was verified; the whole is verified when the bundle is put together."""


@dataclass(frozen=True)
class ChunkRead:
    """A chunk that HTTP brought."""

    sha256: str
    index: int
    data: bytes


ReadHttp = Callable[[Sequence[Span], Callable[[int, bytes], None], threading.Event], object]


@dataclass(frozen=True)
class Transport:
    """The ways to the hub, as a fetch uses them.

    Attributes:
        connected: whether MQTT is up.
        want: publish wants; False where the link did not take them.
        listen, unlisten: hear a blob's chunks, or no longer.
        read_http: read these spans by HTTP, one after the other, and give each piece of them
            with the number of its span, until the event is set; raises EdgeError.
        submit: run a blocking job beside.
        deliver: bring a ChunkRead to the agent's thread.
        pace: of all downloads together.
    """

    connected: Callable[[], bool]
    want: Callable[[tuple[BlobWant, ...]], bool]
    listen: Callable[[str], None]
    unlisten: Callable[[str], None]
    read_http: ReadHttp
    submit: Callable[[Callable[[], None]], None]
    deliver: Callable[[ChunkRead], object]
    pace: Pace = field(default_factory=Pace)


class Fetch:
    """One download of some blobs. Used by the agent's thread."""

    def __init__(
        self,
        blobs: Mapping[str, Blob],
        held: Mapping[str, Iterable[int]],
        *,
        transport: Transport,
        timing: Timing,
        counters: Counter[str],
        now: float,
    ) -> None:
        self._blobs, self._transport, self._timing = dict(blobs), transport, timing
        self._counters = counters
        counts = {sha256: blob.count for sha256, blob in blobs.items()}
        self._download = Download.begin(counts, held, now)
        self._reading = threading.Event()
        self._closed = threading.Event()
        for sha256 in self._download.lacking:
            transport.listen(sha256)

    @property
    def complete(self) -> bool:
        return self._download.complete

    def take(self, sha256: str, index: int, data: bytes, now: float) -> None:
        """A chunk came, by whichever way. Raises OSError where the disk refuses it."""
        if not self._download.lacks(sha256, index):
            return
        blob = self._blobs[sha256]
        try:
            blob.write(index, data)
        except ProtocolError as error:
            self._wrong(str(error))
            self._download.reject()
            return
        self._counters["chunks_arrived"] += 1
        if not self._download.accept(sha256, index, now):
            self._transport.pace.spend(len(data), now)
        if sha256 not in self._download.lacking:
            self._finish(sha256, blob)

    def tick(self, now: float) -> None:
        """Ask for what is lacking, where it is time to."""
        pace, connected = self._transport.pace, self._transport.connected()
        chunks_max = pace.pieces(now)
        ask = self._download.ask(now, self._timing, connected=connected, chunks_max=chunks_max)
        if ask is Ask.WANTS:
            again = self._download.asked_at is not None
            wants = self._download.ask_again(now, chunks_max)
            pace.spend(self._download.asked * CHUNK_BYTES, now)
            if self._transport.want(wants):
                self._counters["wants_repeated"] += again
        elif ask is Ask.HTTP and not self._reading.is_set():
            self._download.http_tried(now)
            self._reading.set()
            lacking = {s: sorted(indexes) for s, indexes in self._download.lacking.items()}
            self._transport.submit(lambda: self._read(lacking))

    def link_restored(self) -> None:
        self._download.link_restored()

    def close(self) -> None:
        """Stop listening; a read that runs ends at its next piece."""
        self._closed.set()
        for sha256 in self._download.lacking:
            self._transport.unlisten(sha256)

    def _finish(self, sha256: str, blob: Blob) -> None:
        try:
            blob.finish()
        except ProtocolError as error:
            self._wrong(str(error))
            self._download.restart(sha256, blob.count)
        else:
            self._transport.unlisten(sha256)

    def _wrong(self, reason: str) -> None:
        self._counters["chunks_wrong"] += 1
        log.warning("chunk_refused", reason=reason)

    def _read(self, lacking: Mapping[str, list[int]]) -> None:
        """On a worker's thread: the lacking chunks by HTTP, neighbours in one request."""
        found = [
            _Run(sha256, run, [self._blobs[sha256].span(index) for index in run])
            for sha256, indexes in lacking.items()
            for run in runs(indexes, self._blobs[sha256], HTTP_READ_BYTES_MAX)
        ]

        def take(number: int, piece: bytes) -> None:
            for chunk in found[number].take(piece):
                self._transport.deliver(chunk)

        try:
            if not self._closed.is_set():
                self._transport.read_http([run.span for run in found], take, self._closed)
        except EdgeError as error:
            log.warning("http_fetch_failed", reason=str(error), remedy="asking by MQTT again")
        finally:
            self._reading.clear()


class _Run:
    """Neighbouring chunks of a blob that come in one answer, in pieces of any size."""

    def __init__(self, sha256: str, indexes: list[int], spans: list[tuple[int, int]]) -> None:
        start, end = spans[0][0], spans[-1][0] + spans[-1][1]
        self.span = Span(sha256, start, end - start)
        self._lacking = [(index, length) for index, (_, length) in zip(indexes, spans, strict=True)]
        self._received = bytearray()

    def take(self, piece: bytes) -> Iterator[ChunkRead]:
        """The chunks that are whole with this piece."""
        self._received += piece
        while self._lacking and len(self._received) >= self._lacking[0][1]:
            index, length = self._lacking.pop(0)
            yield ChunkRead(self.span.sha256, index, bytes(self._received[:length]))
            del self._received[:length]


def runs(indexes: list[int], blob: Blob, bytes_max: int) -> list[list[int]]:
    """Ascending indexes in groups of neighbours, none over `bytes_max` (but single chunks)."""
    groups: list[list[int]] = []
    size = 0
    for index in indexes:
        length = blob.span(index)[1]
        if groups and groups[-1][-1] == index - 1 and size + length <= bytes_max:
            groups[-1].append(index)
            size += length
        else:
            groups.append([index])
            size = length
    return groups
