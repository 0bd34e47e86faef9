"""A device that speaks the real protocol and sees nothing: for fleets larger than one machine.

`VirtualDevice` is the device without any IO: it is told what arrives and what time it is,
and says what it would publish. It downloads builds for real, chunk by chunk with digests
checked, walks through the execution states as an agent does, and keeps what must arrive
until it is acknowledged. `simulators.fleet` gives many of them their connections.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from protocol import chunks
from protocol.builds import Capabilities, Format, Precision, RuntimeCapability
from protocol.bundles import read_manifest
from protocol.errors import ProtocolError
from protocol.histograms import confidence_histogram
from protocol.machine import advance
from protocol.messages import (
    Acks,
    BlobWant,
    Desired,
    EventReport,
    ExecutionReport,
    Presence,
    Reported,
    SlotDesired,
    SlotReported,
    TelemetryReport,
    Wants,
    encode,
)
from protocol.states import (
    BEFORE_EXCHANGE,
    EXECUTION_TABLE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)
from protocol.topics import PATTERNS, Kind, Topic
from protocol.windows import ClassStats, WindowStats
from simulators.dials import Dials
from simulators.memory_outbox import MemoryOutbox
from simulators.passages import Download, Passage, asks_a_person, next_event, waits_for_word

AGENT_VERSION = "virtual-1"
WANT_AGAIN_S = 5.0
"""Without a new chunk, as an agent waits."""
REPORT_EVERY_S = 30.0
REPORT_SETTLE_S = 0.25
"""Changes that come so close together share one report, as an agent's do."""
_FRAMES_PER_S = 10


@dataclass(frozen=True)
class Outgoing:
    """Something to publish, at QoS 1."""

    topic: Topic
    payload: bytes

    @property
    def retained(self) -> bool:
        return PATTERNS[self.topic.kind].retained


class VirtualDevice:
    """One device. `rng` decides its mishaps and its names for epoch and boot."""

    def __init__(
        self, device_id: str, slots: Iterable[str], dials: Dials, rng: random.Random
    ) -> None:
        self.device_id = device_id
        self.dials = dials
        self.boot_id = f"{rng.getrandbits(64):016x}"
        self.session_epoch = 0
        self.generation = 0
        self.running: dict[str, SlotDesired | None] = dict.fromkeys(slots)
        self.executed: list[tuple[str, ExecutionState]] = []
        """Digest and terminal state of every update so far."""
        self._rng = rng
        self._passages: dict[str, Passage] = {}
        self._wanted: dict[str, SlotDesired] = {}
        self._attempted: dict[str, tuple[str, str | None, int]] = {}
        self.outbox = MemoryOutbox(device_id, f"{rng.getrandbits(128):032x}")
        self._window_s = 60.0
        self._window_start: float | None = None
        self._report_due = 0.0

    # ---- the connection ------------------------------------------------------------------

    def begin_session(self) -> Outgoing:
        """Count a new connection up; the will to leave with the broker."""
        self.session_epoch += 1
        return self.presence("offline")

    def connected(self, now: float) -> list[Outgoing]:
        """What to say first: online, what runs, and all that was never acknowledged."""
        self.outbox.send_again()
        self._report_due = now
        return [self.presence("online"), *self.tick(now)]

    def wanted_blobs(self) -> set[str]:
        """Digests of the blobs whose chunks it listens for."""
        return {sha for p in self._passages.values() for sha, d in p.downloads.items() if d.missing}

    # ---- what arrives --------------------------------------------------------------------

    def desired(self, desired: Desired, now: float) -> None:
        """Take in a desired state; an older generation is ignored."""
        if desired.generation < self.generation:
            return
        self.generation = desired.generation
        self._window_s = desired.telemetry_window_s
        self._wanted = {s: wanted for s, wanted in desired.slots.items() if s in self.running}
        for slot in self._wanted:
            self._follow(slot, now)
        for slot in set(self._passages) - set(desired.slots):
            self._withdraw(slot, now)
        self._report_soon(now)

    def chunk(self, sha256: str, index: int, data: bytes, now: float) -> None:
        """Take in a chunk; one that does not match its digest is dropped."""
        for passage in self._passages.values():
            download = passage.downloads.get(sha256)
            if download is None or index not in download.missing:
                continue
            try:
                if download.ref is not None:
                    chunks.verify_chunk(download.ref, index, data)
                else:
                    download.parts[index] = data
                download.missing.discard(index)
                passage.wants_due = now + WANT_AGAIN_S
                if not download.missing and download.ref is None:
                    self._read_manifest(passage, download)
            except ProtocolError:
                continue

    def acks(self, acks: Acks) -> None:
        """Forget what the hub has stored."""
        self.outbox.acknowledge(acks)

    # ---- what goes out -------------------------------------------------------------------

    def tick(self, now: float) -> list[Outgoing]:
        """Move on to `now`; what to publish."""
        outgoing: list[Outgoing] = []
        for passage in list(self._passages.values()):
            outgoing += self._move(passage, now)
        self._watch(now)
        if now >= self._report_due:
            self._report_due = now + REPORT_EVERY_S
            outgoing.append(self._out(Kind.REPORTED, self._reported(now)))
        return outgoing + [self._out(Kind(name), m) for name, m in self.outbox.due(now)]

    def due_at(self) -> float:
        """When `tick` has something to do, unless something arrives before (Unix seconds)."""
        due = [self._report_due, self.outbox.due_at()]
        due += [self._moves_at(passage) for passage in self._passages.values()]
        if self._window_start is not None and any(self.running.values()):
            due.append(self._window_start + self._window_s)
        return min(due)

    def _moves_at(self, passage: Passage) -> float:
        if waits_for_word(passage):
            return passage.due if asks_a_person(passage) and not passage.asked else math.inf
        if passage.state is ExecutionState.DOWNLOADING:
            return passage.wants_due if passage.lacks else 0.0
        return passage.due

    def _follow(self, slot: str, now: float) -> None:
        """Attempt what is wanted of a slot, unless that is under way or over."""
        wanted, current = self._wanted[slot], self._passages.get(slot)
        attempt = (wanted.bundle_digest, wanted.rollout_id, wanted.attempt)
        if self._attempted.get(slot) == attempt:
            if current is not None:
                current.desired = wanted  # the same attempt with other policies
            return
        if current is not None:
            if current.state in BEFORE_EXCHANGE:
                self._advance(current, ExecutionEvent.NEWER_DESIRED, now)
            return  # `_advance` follows what is wanted once an attempt has ended
        self._attempted[slot] = attempt
        self._begin(slot, wanted, now)

    def _begin(self, slot: str, wanted: SlotDesired, now: float) -> None:
        count = -(-wanted.manifest_bytes // chunks.CHUNK_BYTES)
        passage = Passage(
            slot,
            wanted,
            ExecutionState.QUEUED,
            due=now + self._step_s(),
            fails=self._rng.random() < self.dials.failing,
            unsure=self.dials.unsure > 0 and self._rng.random() < self.dials.unsure,
            downloads={
                wanted.bundle_digest: Download(wanted.bundle_digest, set(range(count))),
            },
        )
        self._passages[slot] = passage
        running = self.running[slot]
        self._note(passage, "", now)
        if running is not None and running.bundle_digest == wanted.bundle_digest:
            self._advance(passage, ExecutionEvent.ALREADY_RUNNING, now)

    def _withdraw(self, slot: str, now: float) -> None:
        passage = self._passages[slot]
        if passage.state in BEFORE_EXCHANGE:
            self._advance(passage, ExecutionEvent.CANCEL_REQUESTED, now)
            del self._attempted[slot]

    def _move(self, passage: Passage, now: float) -> list[Outgoing]:
        if passage.state is ExecutionState.DOWNLOADING:
            if passage.lacks:
                return self._wants(passage, now)
            self._advance(passage, ExecutionEvent.DOWNLOAD_FINISHED, now)
        elif now >= passage.due:
            self._step(passage, now)
        return []

    def _step(self, passage: Passage, now: float) -> None:
        if waits_for_word(passage):
            if asks_a_person(passage) and not passage.asked:
                passage.asked = True
                self._report_soon(now)
        elif passage.state is ExecutionState.PROVING and passage.fails:
            self._advance(passage, ExecutionEvent.ERROR, now, "dialled to fail")
        else:
            event = next_event(passage, has_incumbent=self.running[passage.slot] is not None)
            self._advance(passage, event, now)

    def _wants(self, passage: Passage, now: float) -> list[Outgoing]:
        missing = [d for d in passage.downloads.values() if d.missing]
        if now < passage.wants_due or not missing:
            return []
        passage.wants_due = now + WANT_AGAIN_S
        wants = tuple(
            BlobWant(sha256=d.sha256, ranges=chunks.to_ranges(d.missing)) for d in missing
        )
        return [self._out(Kind.WANTS, Wants(device_id=self.device_id, blobs=wants))]

    def _read_manifest(self, passage: Passage, download: Download) -> None:
        raw = b"".join(download.parts[i] for i in sorted(download.parts))
        try:
            passage.manifest = read_manifest(raw, download.sha256)
        except ProtocolError:
            download.missing = set(download.parts)
            download.parts.clear()
            raise
        for entry in passage.manifest.files:
            everything = set(range(len(entry.blob.chunks)))
            passage.downloads[entry.blob.sha256] = Download(
                entry.blob.sha256, everything, entry.blob
            )
        passage.wants_due = 0.0

    def _advance(
        self, passage: Passage, event: ExecutionEvent, now: float, reason: str = ""
    ) -> None:
        passage.state = advance(EXECUTION_TABLE, passage.state, event)
        if passage.state is ExecutionState.PROBATION:
            self._close_windows(now)  # a window is of one build
            self.running[passage.slot] = passage.desired
            passage.due = now + passage.desired.probation_s
        else:
            passage.due = now + self._step_s()
        self._note(passage, reason, now)
        if passage.state in TERMINAL_EXECUTION_STATES:
            del self._passages[passage.slot]
            self.executed.append((passage.desired.bundle_digest, passage.state))
            if passage.slot in self._wanted:
                self._follow(passage.slot, now)

    def _note(self, passage: Passage, reason: str, now: float) -> None:
        execution = self._execution(passage, reason)
        self.outbox.append(
            "events", lambda numbered: EventReport(**numbered, at=now, execution=execution)
        )
        self._report_soon(now)

    def _report_soon(self, now: float) -> None:
        self._report_due = min(self._report_due, now + REPORT_SETTLE_S)

    def _watch(self, now: float) -> None:
        """Close a telemetry window when it is over."""
        if self._window_start is None or not any(self.running.values()):
            self._window_start = now
        elif now >= self._window_start + self._window_s:
            self._close_windows(now)

    def _close_windows(self, now: float) -> None:
        """Report what was seen since the windows began; new ones begin."""
        start, self._window_start = self._window_start, now
        for slot, build in self.running.items():
            if build is not None and start is not None and start < now:
                self._close_window(slot, build.bundle_digest, start, now)

    def _close_window(self, slot: str, digest: str, start: float, end: float) -> None:
        stats = self._made_up(end - start)
        self.outbox.append(
            "telemetry",
            lambda numbered: TelemetryReport(
                **numbered,
                camera=f"{self.device_id}-{slot}",
                slot=slot,
                bundle_digest=digest,
                window_start=start,
                window_end=end,
                stats=stats,
            ),
        )

    def _made_up(self, seconds: float) -> WindowStats:
        """Statistics as a quiet camera would have them, drawn by the seed."""
        inferred = max(1, round(seconds * _FRAMES_PER_S))
        dice = np.random.Generator(np.random.PCG64(self._rng.getrandbits(64)))
        confidences = dice.beta(8, 2, inferred)
        empty = confidence_histogram()
        counts, _ = np.histogram(confidences, len(empty.counts), (empty.low, empty.high))
        histogram = empty.model_copy(update={"counts": tuple(map(int, counts))})
        return WindowStats(
            frames_captured=inferred,
            frames_inferred=inferred,
            served_confidence_sum=float(confidences.sum()),
            classes={0: ClassStats(served=inferred, confidence=histogram)},
        )

    def _execution(self, passage: Passage, reason: str) -> ExecutionReport:
        asked = passage.asked and asks_a_person(passage)
        return ExecutionReport(
            rollout_id=passage.desired.rollout_id,
            attempt=passage.desired.attempt,
            slot=passage.slot,
            bundle_digest=passage.desired.bundle_digest,
            state=passage.state,
            reason=reason,
            figures={"shadow_inconclusive": 1.0} if asked else {},
        )

    def _reported(self, now: float) -> Reported:
        slots = {}
        for slot, build in self.running.items():
            passage = self._passages.get(slot)
            slots[slot] = SlotReported(
                running_digest=build.bundle_digest if build else None,
                model=build.model if build else None,
                version=build.version if build else None,
                execution=self._execution(passage, "") if passage else None,
            )
        return Reported(
            device_id=self.device_id,
            boot_id=self.boot_id,
            session_epoch=self.session_epoch,
            agent_version=AGENT_VERSION,
            desired_generation=self.generation,
            slots=slots,
            capabilities=CAPABILITIES,
            reported_at=now,
        )

    def presence(self, status: str) -> Outgoing:
        """Its presence, `online` or `offline`, in the session that it is in."""
        message = Presence.model_validate(
            {
                "device_id": self.device_id,
                "status": status,
                "boot_id": self.boot_id,
                "session_epoch": self.session_epoch,
            }
        )
        return self._out(Kind.PRESENCE, message)

    def _out(self, kind: Kind, message: BaseModel) -> Outgoing:
        return Outgoing(Topic(kind, device_id=self.device_id), encode(message))

    def _step_s(self) -> float:
        return self.dials.step_s * self.dials.slow


CAPABILITIES = Capabilities(
    architecture="x86_64",
    runtimes=(
        RuntimeCapability(
            runtime="onnxruntime",
            version="1.20",
            formats=(Format.ONNX,),
            precisions=(Precision.FP32,),
        ),
    ),
)
