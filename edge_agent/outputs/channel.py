"""A channel to the line: a bounded queue and one thread before any writer.

Offering a signal never waits: a full queue loses its oldest signal, and every loss is
counted by its cause. The thread keeps the connection, for ever, with capped full jitter.

Signals of the kinds that a writer `holds` are states. While the connection stands they are
written in order, so that a short pulse is seen; after an outage, or when the queue ran
over, the latest of each source is written again and what it supersedes is not told. So the
other end shows the present state, whatever happened in between.

    offered = sent + failed + superseded + dropped_full + dropped_stopped + waiting
"""

from __future__ import annotations

import threading
from collections import Counter, deque

import structlog

from edge_agent.backoff import backoff_s
from edge_agent.clock import Clock
from edge_agent.dice import Dice
from edge_agent.errors import OutputError
from edge_agent.outputs.settings import ChannelSection
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.writer import LineDownError, Writer

AFTER_REFUSAL_S = 1.0
CAUSES = ("sent", "failed", "superseded", "dropped_full", "dropped_stopped")

_Key = tuple[SignalKind, str, str]

log = structlog.get_logger(__name__)


class Channel:
    """Carries signals to one other end in a thread of its own."""

    def __init__(self, section: ChannelSection, writer: Writer, *, clock: Clock, rng: Dice) -> None:
        self.id = section.id
        self.detections = section.detections and SignalKind.DETECTIONS in writer.takes
        self._takes = writer.takes if self.detections else writer.takes - {SignalKind.DETECTIONS}
        self._section, self._writer = section, writer
        self._clock, self._rng = clock, rng
        self._changed = threading.Condition()
        self._queue: deque[Signal] = deque()
        self._in_hand: Signal | None = None
        self._attempts = 0
        self._states: dict[_Key, Signal] = {}
        self._owed: list[Signal] = []
        self._restoring = False
        self._woken = False
        self._stop_at: float | None = None
        self._end_at = 0.0
        self._counters: Counter[str] = Counter(dict.fromkeys(CAUSES, 0))
        self._last_problem = ""
        self._down: str | None = None
        self._left = False
        self._thread = threading.Thread(target=self._run, name=f"channel-{self.id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, signal: Signal) -> None:
        """Take a signal, without waiting; kinds that the other end is not told are ignored."""
        if signal.kind not in self._takes:
            return
        with self._changed:
            if self._stop_at is not None:
                self._counters["dropped_stopped"] += 1
                return
            if signal.kind in self._writer.holds:
                self._states[_key(signal)] = signal
            if len(self._queue) >= self._section.queue_max:
                oldest = self._queue.popleft()
                self._counters["dropped_full"] += 1
                if self._states.get(_key(oldest)) is oldest:
                    self._restoring = True
            self._queue.append(signal)
            self._changed.notify()

    def counters(self) -> dict[str, int]:
        """Signals by what became of them, those that wait, and the connections made."""
        with self._changed:
            waiting = len(self._queue) + len(self._owed) + (self._in_hand is not None)
            return dict(self._counters) | {"waiting": waiting}

    def problem(self) -> str | None:
        """Why the other end is not reached; None while it is, and before the first try."""
        with self._changed:
            return self._down

    def stop(self, timeout_s: float) -> None:
        """Take no more, and end within `timeout_s`; does not wait, so that several can end
        together. `close` follows.

        What waits is still written. The end of the time, half at most, is kept for an
        operation under way; where that is shorter than the channel's own `timeout_s`, the
        thread may outlast it by the rest.
        """
        flush_s = max(timeout_s / 2, timeout_s - self._section.timeout_s)
        with self._changed:
            if self._stop_at is None:
                now_s = self._clock.monotonic()
                self._stop_at, self._end_at = now_s + flush_s, now_s + timeout_s
                self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Write what waits within `timeout_s` of `stop`, say goodbye and end the thread."""
        self.stop(timeout_s)
        if self._thread.ident is not None:
            self._thread.join(max(0.0, self._end_at - self._clock.monotonic()))
        with self._changed:
            self._counters["dropped_stopped"] += len(self._queue) + len(self._owed)
            self._queue.clear()
            self._owed.clear()
        if self._thread.ident is not None:
            self._say_what_was_left()

    def _say_what_was_left(self) -> None:
        with self._changed:
            unsent = self._counters["dropped_stopped"] + (self._in_hand is not None)
            left, reason = self._left, self._down or "it did not end in time"
        if not left:
            log.warning("channel_stopped_without_goodbye", channel=self.id, reason=reason)
            if self._writer.clears:
                log.warning("levels_not_cleared", channel=self.id, reason=reason)
        if unsent:
            log.warning("signals_left_unsent", channel=self.id, unsent=unsent)

    # ---- the channel's thread --------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._finished():
            opened_at = self._clock.monotonic()
            problem = self._session()
            if problem is None:
                break
            stable = self._clock.monotonic() - opened_at >= self._section.stable_after_s
            failures = 1 if stable else failures + 1
            with self._changed:
                self._down = problem
            self._report("channel_down", problem)
            self._pause(
                backoff_s(
                    failures,
                    self._section.reconnect_first_s,
                    self._section.reconnect_cap_s,
                    self._rng,
                )
            )
        if self._in_hand is not None:
            self._settle("dropped_stopped")

    def _session(self) -> str | None:
        """One connection from its opening to its end; why it ended, None at the channel's."""
        try:
            self._writer.open(self._wake)
            with self._changed:
                self._counters["connections"] += 1
                self._restoring = True
            self._serve()
            self._writer.leave()
            with self._changed:
                self._left = True
        except OutputError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a library's fault must not end the channel
            return f"{type(error).__name__}: {error}"
        finally:
            self._let_go()
        return None

    def _let_go(self) -> None:
        try:
            self._writer.close()
        except Exception as error:  # noqa: BLE001 - nothing is left to be closed
            self._report("channel_close_failed", f"{type(error).__name__}: {error}")

    def _serve(self) -> None:
        """Write until the connection is lost or the channel ends."""
        while True:
            self._restore()
            due_s = self._tick()
            if self._writer.holds:
                self._up()
            with self._changed:
                signal = self._take(due_s)
                if signal is None and self._finished():
                    return
            if signal is not None:
                self._write(signal)

    def _restore(self) -> None:
        with self._changed:
            if not self._restoring:
                return
            self._supersede()
            self._restoring = False
            states = tuple(self._states.values())
        try:
            self._writer.restore(states)
        except LineDownError:
            raise
        except OutputError as error:
            self._report("channel_refused", str(error))
            self._settle_owed("failed")
        else:
            self._settle_owed("sent")

    def _supersede(self) -> None:
        """Take the states that wait from the queue: the present ones are about to be told."""
        waiting = [*self._owed, *self._queue]
        if self._in_hand is not None and self._in_hand.kind in self._writer.holds:
            waiting.append(self._in_hand)
            self._in_hand, self._attempts = None, 0
        states = [s for s in waiting if s.kind in self._writer.holds]
        self._queue = deque(s for s in self._queue if s.kind not in self._writer.holds)
        self._owed = [s for s in states if self._states[_key(s)] is s]
        self._counters["superseded"] += len(states) - len(self._owed)

    def _settle_owed(self, cause: str) -> None:
        with self._changed:
            self._counters[cause] += len(self._owed)
            self._owed.clear()

    def _tick(self) -> float | None:
        try:
            return self._writer.tick()
        except LineDownError:
            raise
        except OutputError as error:
            self._report("channel_refused", str(error))
            return AFTER_REFUSAL_S

    def _take(self, due_s: float | None) -> Signal | None:
        """The next signal, waiting for `due_s`; None where something else is to be done."""
        idle = self._in_hand is None and not self._queue
        if idle and not self._woken and not self._restoring and self._stop_at is None:
            self._changed.wait(due_s)
        self._woken = False
        if self._restoring or self._out_of_time():
            return None
        if self._in_hand is None and self._queue:
            self._in_hand = self._queue.popleft()
        return self._in_hand

    def _write(self, signal: Signal) -> None:
        try:
            self._writer.write(signal)
        except LineDownError:
            self._attempts += 1
            limit = self._section.retries_max
            if limit is not None and self._attempts > limit:
                self._settle("failed")
            raise
        except OutputError as error:
            self._settle("failed")
            self._report("channel_refused", str(error))
        except Exception:
            self._settle("failed")
            raise
        else:
            self._settle("sent")
            self._up()

    def _up(self) -> None:
        """The other end is there: it has its states, or has taken a signal."""
        with self._changed:
            was_down, self._down = self._down is not None, None
        if was_down:
            self._last_problem = ""
            log.info("channel_up", channel=self.id)

    def _settle(self, cause: str) -> None:
        with self._changed:
            self._counters[cause] += 1
            self._in_hand, self._attempts = None, 0

    def _pause(self, wait_s: float) -> None:
        """Wait before connecting again; the end of the channel cuts it short."""
        end_s = self._clock.monotonic() + wait_s
        with self._changed:
            while (left_s := end_s - self._clock.monotonic()) > 0 and not self._finished():
                if self._stop_at is not None:
                    left_s = min(left_s, self._stop_at - self._clock.monotonic())
                self._changed.wait(left_s)

    def _wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify()

    def _out_of_time(self) -> bool:
        return self._stop_at is not None and self._clock.monotonic() >= self._stop_at

    def _finished(self) -> bool:
        nothing_left = not self._queue and not self._owed and self._in_hand is None
        return self._stop_at is not None and (nothing_left or self._out_of_time())

    def _report(self, event: str, problem: str) -> None:
        """Log a problem once, not once a try."""
        if problem != self._last_problem:
            self._last_problem = problem
            log.warning(event, channel=self.id, reason=problem)


def _key(signal: Signal) -> _Key:
    return signal.kind, signal.camera, signal.source
