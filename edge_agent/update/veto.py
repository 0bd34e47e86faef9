"""The line's "not now": for a bounded while no attempt of a slot is exchanged.

A veto is for a time, not for an attempt. What counts against an attempt is the time in which
the veto alone held it back: not while it fetches or proves, its window is shut, or the hub has
not given its word. One veto, and what counts of all vetoes of one attempt together, last for
`limits.veto_s_max` at most. While the agent runs a veto ends by the time that has really gone
by, whatever the clock on the wall does. Only over a restart does the wall say how much of it is
left: a clock that went back in between ends nothing, and adds no more than a kill may make
forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog
from pydantic import Field

from edge_agent.config import Limits
from edge_agent.store import StateFile, Store
from edge_agent.update.maintenance import UTC, at_words

KEEP_EVERY_S = 60.0
"""How much of a veto's time a kill may make forgotten."""
DRIFT_S = 1.0
"""By how much the wall may be off before a veto's end is written down anew."""

log = structlog.get_logger(__name__)


class Veto(StateFile):
    """What the line has said of a slot (state/veto-<slot>.json).

    Attributes:
        granted_at, until: Unix time (s) of the last veto; `until` follows a clock that is set.
        left_s: what is left of it by time that has really gone by.
        attempt: the attempt that `spent_s` is of (`states.attempt_key`), "" before the first.
        spent_s: for how long vetoes alone have held that attempt back.
    """

    version: int = 1
    granted_at: float = Field(allow_inf_nan=False)
    until: float = Field(allow_inf_nan=False)
    left_s: float = Field(ge=0, allow_inf_nan=False)
    attempt: str = ""
    spent_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)


def veto_name(slot: str) -> str:
    """The state file of a slot's veto."""
    return f"veto-{slot}"


def allowed_s(veto: Veto | None, attempt: str, limits: Limits) -> float:
    """For how much longer (s) an attempt may be held back; `attempt` "" where none is open."""
    return max(0.0, limits.veto_s_max - _spent_s(veto, attempt))


def grant(veto: Veto | None, attempt: str, for_s: float, now_wall: float, limits: Limits) -> Veto:
    """The veto after the line has asked for `for_s` more from `now_wall` on, cut to what is
    allowed. It takes the place of the one before, which it may so shorten."""
    granted_s = min(for_s, allowed_s(veto, attempt, limits))
    counted = attempt or ("" if veto is None else veto.attempt)
    return Veto(
        granted_at=now_wall,
        until=now_wall + granted_s,
        left_s=granted_s,
        attempt=counted,
        spent_s=_spent_s(veto, counted),
    )


def released(veto: Veto) -> Veto:
    """The veto taken back; what was spent stays spent."""
    return veto.model_copy(update={"left_s": 0.0})


def passed(veto: Veto, attempt: str, elapsed_s: float) -> Veto:
    """The veto after `elapsed_s` have gone by, in which it alone held `attempt` back ("": none)."""
    held_s = min(elapsed_s, veto.left_s)
    update: dict[str, object] = {"left_s": veto.left_s - held_s}
    if attempt:
        update |= {"attempt": attempt, "spent_s": _spent_s(veto, attempt) + held_s}
    return veto.model_copy(update=update)


def holds(veto: Veto | None, attempt: str, limits: Limits) -> bool:
    """Whether an attempt must wait."""
    return veto is not None and veto.left_s > 0 and _spent_s(veto, attempt) < limits.veto_s_max


def left_after(veto: Veto, now_wall: float) -> float:
    """What is left (s) of a veto as the disk has it, by the clock on the wall."""
    return max(0.0, min(veto.left_s, veto.until - now_wall))


def taken_up(veto: Veto, now_wall: float, limits: Limits) -> Veto:
    """The veto after a restart at `now_wall` (Unix s)."""
    left_s = min(left_after(veto, now_wall), limits.veto_s_max)
    return anchored(veto.model_copy(update={"left_s": left_s}), now_wall)


def anchored(veto: Veto, now_wall: float) -> Veto:
    """The veto with its end on the wall where what is left of it says; itself where it is."""
    until = now_wall + veto.left_s
    return veto if abs(until - veto.until) <= DRIFT_S else veto.model_copy(update={"until": until})


def granted_words(
    slot: str, asked_s: float, granted_s: float, wall: float, limits: Limits, *, zone: str = UTC
) -> tuple[bool, str]:
    """Whether anything was granted of what was asked, and words for the line, in its `zone`."""
    bound = f"limits.veto_s_max is {limits.veto_s_max:g} s for an attempt"
    if granted_s <= 0:
        return False, f"{slot} has been held back for as long as it may be; {bound}"
    until = at_words(wall + granted_s, zone, seconds=True)
    text = f"no update is exchanged in {slot} until {until}"
    return True, text if granted_s >= asked_s else f"{text}, and no longer: {bound}"


def _spent_s(veto: Veto | None, attempt: str) -> float:
    return veto.spent_s if veto is not None and attempt and veto.attempt == attempt else 0.0


class Vetoes:
    """The vetoes of all slots, on the disk and in memory. Used by the agent's thread."""

    def __init__(self, slots: Iterable[str], store: Store, limits: Limits, wall: float) -> None:
        self._store, self._limits = store, limits
        self._vetoes: dict[str, Veto] = {}
        self._unkept_s: dict[str, float] = {}
        self._ticked: float | None = None
        for slot in slots:
            known = store.load(veto_name(slot), Veto)
            if known is not None:
                self._vetoes[slot] = taken_up(known, wall, limits)

    def hold(self, slot: str, attempt: str, for_s: float, wall: float) -> float:
        """Grant a veto; for how long (s), which is less than `for_s` where that is too long.

        Where the disk refuses it, it holds all the same, until the agent is restarted.
        """
        veto = grant(self._vetoes.get(slot), attempt, for_s, wall, self._limits)
        self._keep(slot, veto)
        log.info("veto", slot=slot, for_s=veto.left_s, attempt=attempt)
        return veto.left_s

    def release(self, slot: str) -> None:
        """Take a slot's veto back; there need not be one."""
        veto = self._vetoes.get(slot)
        if veto is not None:
            self._keep(slot, released(veto))
            log.info("veto_released", slot=slot)

    def tick(self, now: float, wall: float, attempts: Mapping[str, str]) -> None:
        """Let time go by (`now` is monotonic, `wall` Unix time, s); `attempts` are those that
        nothing but a veto holds back, by slot."""
        elapsed_s = 0.0 if self._ticked is None else now - self._ticked
        self._ticked = now
        for slot, veto in self._vetoes.items():
            if not veto.left_s:
                continue
            rest = passed(veto, attempts.get(slot, ""), elapsed_s)
            later = self._vetoes[slot] = anchored(rest, wall)
            self._unkept_s[slot] = self._unkept_s.get(slot, 0.0) + elapsed_s
            clock_was_set = later.until != veto.until
            if self._unkept_s[slot] >= KEEP_EVERY_S or not later.left_s or clock_was_set:
                self._keep(slot, later)

    def holds(self, slot: str, attempt: str) -> bool:
        """Whether the slot's attempt must wait."""
        return holds(self._vetoes.get(slot), attempt, self._limits)

    def until(self, slot: str, attempt: str, wall: float) -> float | None:
        """Until when (Unix s) the slot is held at the latest; None where it is not."""
        veto = self._vetoes.get(slot)
        held = veto is not None and self.holds(slot, attempt)
        return anchored(veto, wall).until if held and veto is not None else None

    def _keep(self, slot: str, veto: Veto) -> None:
        self._vetoes[slot] = veto
        self._unkept_s[slot] = 0.0
        try:
            self._store.save(veto_name(slot), veto)
        except OSError as error:
            log.warning("veto_not_kept", slot=slot, error=str(error))
