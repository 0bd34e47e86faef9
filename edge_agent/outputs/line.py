"""The sink that watches rules and shelves and tells the channels what changed.

Every signal's body names kind, source, camera and time; what a frame caused names the frame
and the build too. In addition:

    rule        active, reason, detections (those that match)
    stock       event (change, sight_lost, feed), items (class, count, state: the whole
                shelf), changes (class, from, to, count); count null where unknown
    notice      event (class_lost, class_found), owner, class
    detections  what the frame's record has

A frame's signals are offered in the call that takes the frame: rules, shelves, detections.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError
from edge_agent.outputs.record import detection_parts, frame_part, record
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.results import FrameResult
from edge_agent.rules.binding import ClassNotice
from edge_agent.rules.rule import RuleChange, RuleWatch
from edge_agent.rules.settings import RuleSection, ShelfSection, WatchSection
from edge_agent.rules.shelf import Change, ShelfWatch

log = structlog.get_logger(__name__)


class SignalChannel(Protocol):
    """What carries signals.

    Attributes:
        detections: whether it is told every frame's detections.
    """

    id: str
    detections: bool

    def offer(self, signal: Signal) -> None:
        """Take a signal to be carried; never blocks."""


class LineSink:
    """Sink `line`. `lost_classes` and `counters` may be called by any thread.

    Args:
        clock: monotonic for silence and feeds; it must be the one of the results.

    Raises:
        EdgeError: a rule or shelf names a channel that there is not.
    """

    name = "line"

    def __init__(
        self,
        rules: Sequence[RuleSection],
        shelves: Sequence[ShelfSection],
        channels: Iterable[SignalChannel],
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._channels = {channel.id: channel for channel in channels}
        self._told = tuple(c for c in self._channels.values() if c.detections)
        for section in (*rules, *shelves):
            self._check(section)
        now_s = self._clock.monotonic()
        self._rules = tuple(rules)
        self._watches: dict[str, tuple[RuleWatch, ...]] = {}
        self._shelves = tuple(ShelfWatch(section, now_s) for section in shelves)
        self._feeds_at = {section.id: now_s + section.every_s for section in shelves}
        self._lost: tuple[ClassNotice, ...] = ()
        self._counts = dict.fromkeys((kind.value for kind in SignalKind), 0)

    def take(self, result: FrameResult) -> None:
        for watch in self._watches_of(result.camera):
            for change in watch.observe(result):
                if isinstance(change, ClassNotice):
                    self._notice(watch.section, change, result)
                else:
                    self._offer(watch.section, rule_signal(change, result))
        for shelf in self._shelves:
            if shelf.section.camera == result.camera:
                self._take_shelf(shelf, result)
        if self._told:
            signal = detections_signal(result)
            for channel in self._told:
                self._count(channel, signal)

    def tick(self, now_s: float) -> None:
        """Say what has become unknown, and tell the stocks that are due; `now_s` Unix time."""
        monotonic_s = self._clock.monotonic()
        for shelf in self._shelves:
            section = shelf.section
            self._silence(shelf, monotonic_s, now_s)
            if monotonic_s >= self._feeds_at[section.id]:
                self._feeds_at[section.id] = monotonic_s + section.every_s
                self._offer(section, stock_signal(shelf, "feed", now_s))

    def close(self) -> None:
        """Channels are closed by their owner."""

    def lost_classes(self) -> tuple[ClassNotice, ...]:
        """Classes that rules and shelves name and their cameras' models do not have."""
        return self._lost

    def counters(self) -> dict[str, int]:
        """Signals offered to channels, by kind."""
        return {f"signals_{kind}": count for kind, count in self._counts.items()}

    def _watches_of(self, camera: str) -> tuple[RuleWatch, ...]:
        watches = self._watches.get(camera)
        if watches is None:
            watches = tuple(RuleWatch(rule, camera) for rule in self._rules if rule.watches(camera))
            self._watches[camera] = watches
        return watches

    def _take_shelf(self, shelf: ShelfWatch, result: FrameResult) -> None:
        self._silence(shelf, result.result_monotonic, result.result_at)
        changes: list[Change] = []
        for change in shelf.observe(result):
            if isinstance(change, ClassNotice):
                self._notice(shelf.section, change, result)
            else:
                changes.append(change)
        if changes:
            body = frame_part(result) | {"changes": [_change_part(change) for change in changes]}
            self._offer(shelf.section, stock_signal(shelf, "change", result.result_at, body))

    def _silence(self, shelf: ShelfWatch, monotonic_s: float, now_s: float) -> None:
        if shelf.silence(monotonic_s):
            log.warning("shelf_unseen", shelf=shelf.section.id, camera=shelf.section.camera)
            self._offer(shelf.section, stock_signal(shelf, "sight_lost", now_s))

    def _notice(self, section: WatchSection, notice: ClassNotice, result: FrameResult) -> None:
        key = (notice.owner, notice.camera, notice.class_name)
        others = tuple(n for n in self._lost if (n.owner, n.camera, n.class_name) != key)
        self._lost = (*others, notice) if notice.lost else others
        signal = notice_signal(notice, result)
        log.warning(
            signal.body["event"], **{k: signal.body[k] for k in ("owner", "camera", "class")}
        )
        self._offer(section, signal)

    def _offer(self, section: WatchSection, signal: Signal) -> None:
        for channel in section.channels:
            self._count(self._channels[channel], signal)

    def _count(self, channel: SignalChannel, signal: Signal) -> None:
        channel.offer(signal)
        self._counts[signal.kind.value] += 1

    def _check(self, section: WatchSection) -> None:
        for channel in section.channels:
            if channel not in self._channels:
                raise EdgeError(
                    f"{section.id} names the channel {channel}; "
                    f"there are: {', '.join(self._channels) or 'none'}"
                )


def rule_signal(change: RuleChange, result: FrameResult) -> Signal:
    """A rule that became active or ended by this frame."""
    body = frame_part(result) | {
        "active": change.active,
        "reason": change.reason.value,
        "detections": detection_parts(result, change.detections),
    }
    return _signal(
        SignalKind.RULE,
        change.rule.id,
        result.camera,
        result.result_at,
        body,
        active=change.active,
    )


def notice_signal(notice: ClassNotice, result: FrameResult) -> Signal:
    """A class that a model lacks, or has again."""
    body = frame_part(result) | {
        "event": "class_lost" if notice.lost else "class_found",
        "owner": notice.owner,
        "class": notice.class_name,
    }
    return _signal(SignalKind.NOTICE, notice.camera, notice.camera, result.result_at, body)


def detections_signal(result: FrameResult) -> Signal:
    """What a frame shows."""
    return _signal(
        SignalKind.DETECTIONS, result.camera, result.camera, result.result_at, record(result)
    )


def stock_signal(
    shelf: ShelfWatch, event: str, at: float, body: dict[str, Any] | None = None
) -> Signal:
    """The whole shelf, and what made it worth telling."""
    items = [
        {"class": held.class_name, "count": held.count, "state": held.state.value}
        for held in shelf.held()
    ]
    whole = {"changes": []} | (body or {}) | {"event": event, "items": items}
    return _signal(SignalKind.STOCK, shelf.section.id, shelf.section.camera, at, whole)


def _change_part(change: Change) -> dict[str, Any]:
    return {
        "class": change.class_name,
        "from": change.before.value,
        "to": change.state.value,
        "count": change.count,
    }


def _signal(
    kind: SignalKind,
    source: str,
    camera: str,
    at: float,
    body: dict[str, Any],
    *,
    active: bool | None = None,
) -> Signal:
    named = {"kind": kind.value, "source": source, "camera": camera, "at": at}
    return Signal(kind, source, camera, at, active, named | body)
