"""Reject rules: when one fires and when it is over."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.results import FrameResult
from edge_agent.rules.binding import Binding, ClassNotice
from edge_agent.rules.selection import select
from edge_agent.rules.settings import RuleSection
from edge_agent.rules.states import RULE_TABLE, RuleEvent, RuleState
from protocol.machine import advance


@dataclass(frozen=True)
class RuleProgress:
    """A rule's state at one camera, and the frames in a row that speak for leaving it."""

    state: RuleState = RuleState.UNKNOWN
    frames: int = 0


@dataclass(frozen=True)
class RuleChange:
    """A rule that became active or is active no more, by this frame.

    A rule's first frame makes such a change too: whoever holds its state may have it from an
    earlier run of the agent.

    Attributes:
        reason: what moved it.
        detections: indexes of the frame's detections that match it.
    """

    rule: RuleSection
    active: bool
    reason: RuleEvent
    detections: tuple[int, ...]


def step(
    progress: RuleProgress, matched: int | None, section: RuleSection
) -> tuple[RuleProgress, RuleEvent | None]:
    """What a frame does to a rule. Pure.

    Args:
        matched: how many detections match; None where the model has none of its classes.

    Returns:
        the rule's progress, and what moved its state, if anything did.
    """
    event, frames = _judge(progress, matched, section)
    if event is None:
        return RuleProgress(progress.state, frames), None
    moved = RuleProgress(advance(RULE_TABLE, progress.state, event))
    if event not in (RuleEvent.FIRST_FRAME, RuleEvent.CLASSES_FOUND):
        return moved, event
    # The first frame, and that which brings the classes back, count like any other.
    after, next_event = step(moved, matched, section)
    return after, next_event or event


def _judge(
    progress: RuleProgress, matched: int | None, section: RuleSection
) -> tuple[RuleEvent | None, int]:
    unbound = progress.state is RuleState.UNBOUND
    if matched is None:
        return (None if unbound else RuleEvent.CLASSES_LOST), 0
    if unbound:
        return RuleEvent.CLASSES_FOUND, 0
    if progress.state is RuleState.UNKNOWN:
        return RuleEvent.FIRST_FRAME, 0
    active, fulfils = progress.state is RuleState.ACTIVE, matched >= section.count_min
    frames = progress.frames + 1 if fulfils is not active else 0
    if active:
        return (RuleEvent.ENDED if frames >= section.clear_frames else None), frames
    return (RuleEvent.FULFILLED if frames >= section.consecutive_frames else None), frames


class RuleWatch:
    """One rule at one camera, frame by frame."""

    def __init__(self, section: RuleSection, camera: str) -> None:
        self.section = section
        self._binding = Binding(section.id, camera, section.classes)
        self._progress = RuleProgress()

    def observe(self, result: FrameResult) -> tuple[RuleChange | ClassNotice, ...]:
        """What the frame changes."""
        notices = self._binding.follow(result.bundle_digest, result.manifest.class_names)
        indexes: tuple[int, ...] = ()
        matched = None
        if self._binding.bound:
            indexes = tuple(select(self.section, result, self._binding.ids).tolist())
            matched = len(indexes)
        before = self._progress.state
        self._progress, event = step(self._progress, matched, self.section)
        is_active = self._progress.state is RuleState.ACTIVE
        is_news = before is RuleState.UNKNOWN or is_active != (before is RuleState.ACTIVE)
        if event is None or not is_news:
            return notices
        return (*notices, RuleChange(self.section, is_active, event, indexes))
