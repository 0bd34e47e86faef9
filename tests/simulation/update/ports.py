"""What stands in for the rest of the agent: hub, outbox, runtimes, proofs, shadow, line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.errors import DetectorError
from edge_agent.link.http import HttpError, Span
from edge_agent.observe.series import Series
from edge_agent.observe.service import ServiceFigures
from edge_agent.update.fetch import ChunkRead, Transport
from edge_agent.update.turned import Turned
from protocol.builds import Capabilities, Format, Precision, RuntimeCapability
from protocol.chunks import from_ranges
from protocol.messages import BlobWant, ExecutionReport

if TYPE_CHECKING:
    from tests.simulation.update.disk import Disk

CAPABILITIES = Capabilities(
    architecture="x86_64",
    runtimes=(
        RuntimeCapability(
            runtime="onnxruntime",
            version="1",
            formats=(Format.ONNX,),
            precisions=(Precision.FP32,),
            opset_max=20,
        ),
    ),
)


class Outbox:
    """Keeps what was told over every death; like the real one it keeps a number once."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.events: list[tuple[int, ExecutionReport]] = []
        self.turns: list[Turned] = []
        self.refuses = False

    def tell(self, disk: Disk, slot: str, number: int, report: ExecutionReport) -> bool:
        """One transaction: a death comes before it or after it, never within."""
        disk.step()
        if self.refuses or disk.refuses:
            return False
        if number > self.told.get(slot, 0):
            self.told[slot] = number
            self.events.append((number, report))
        disk.step()
        return True

    def turn(self, disk: Disk, turn: Turned) -> bool:
        """The same for a bundle that took over."""
        disk.step()
        if self.refuses or disk.refuses:
            return False
        if not self.turns or turn.number > self.turns[-1].number:
            self.turns.append(turn)
        disk.step()
        return True


class Detector:
    """A runtime that computes nothing; it knows whether it was let go."""

    batch_max = 1

    def __init__(self) -> None:
        self.closed = False

    def prepare(self, *_args: Any) -> Any:
        raise DetectorError("nothing is computed here")

    infer = prepare

    def close(self) -> None:
        self.closed = True


class Network:
    """The way to the hub and back, with what it holds and loses."""

    def __init__(self, rng: Random, blobs: dict[str, list[bytes]]) -> None:
        self._rng, self._blobs = rng, blobs
        self.up = True
        self.hub_answers = True
        self.underway: deque[ChunkRead] = deque()

    def want(self, wanted: tuple[BlobWant, ...]) -> bool:
        if not self.up:
            return False
        for want in wanted:
            pieces = self._blobs.get(want.sha256, [])
            for index in sorted(from_ranges(want.ranges)):
                if self.hub_answers and index < len(pieces) and self._rng.random() > 0.05:
                    data = pieces[index] if self._rng.random() > 0.03 else b"spoilt"
                    self.underway.append(ChunkRead(want.sha256, index, data))
        return True

    def lose(self) -> None:
        """The link goes, and with it what was underway."""
        self.up = False
        self.underway.clear()

    def read_http(
        self, spans: Sequence[Span], take: Callable[[int, bytes], None], _cancel: Event
    ) -> None:
        if not self.up or not self.hub_answers:
            raise HttpError("nobody answers")
        for number, span in enumerate(spans):
            blob = b"".join(self._blobs[span.sha256])
            take(number, blob[span.start : span.start + span.length])

    def transport(
        self,
        submit: Callable[[Callable[[], None]], None],
        deliver: Callable[[ChunkRead], object],
    ) -> Transport:
        return Transport(
            connected=lambda: self.up,
            want=self.want,
            listen=lambda _sha256: None,
            unlisten=lambda _sha256: None,
            read_http=self.read_http,
            submit=submit,
            deliver=deliver,
        )


class Shadow:
    """Stands for `Shadowing`; the verdict is the bundle's own."""

    def __init__(self) -> None:
        self.candidate: LoadedBundle | None = None

    def begin(self, _slot: str, candidate: LoadedBundle, *_more: Any) -> None:
        self.candidate = candidate

    def counts(self, _slot: str) -> LoadedBundle | None:
        return self.candidate

    def end(self, _slot: str) -> bool:
        self.candidate = None
        return True


class Service:
    """Stands for the figures of what serves; probation is judged without them here. Now and
    then little is seen, as after a start or of a dark camera, and an exchange waits for more."""

    frames = 0

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def recent(self, *_args: Any) -> ServiceFigures:
        frames = 0 if self._rng.random() < 0.3 else 1000
        return ServiceFigures(per_frame=Series(count=frames))

    def figures(self, *_args: Any) -> Service:
        return self

    def since(self, *_args: Any) -> Service:
        return self
