"""`python -m tests.benchmarks.swap_soak --minutes 20`: swap after swap, while the broker restarts.

Two cameras that lose no frame of themselves (a video and a folder, read in order) watch through
the whole agent. A hub made of the protocol's messages desires the other of two builds every 30 s,
and its Mosquitto is killed and started again every 60 s. Found are the frames that were lost, the
builds that answered without having been told as PREPARED, the attempts whose states were not each
told exactly once, and what the agent's memory does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from protocol.bundles import Manifest
from protocol.states import TERMINAL_EXECUTION_STATES
from tests.benchmarks.harness import machine
from tests.benchmarks.soak import DEVICE, MIB, SLOT, memory_slope
from tests.benchmarks.soak_cameras import endless_cameras
from tests.benchmarks.whole_agent import WholeAgent
from tests.fixtures.models import write_bundle
from tests.integration.brokers import RunningBroker, mosquitto
from tests.integration.edge_agent.fake_hub import WHOLE_PATH, FakeHub, wait_for

SWAP_EVERY_S, RESTART_EVERY_S, SAMPLE_EVERY_S = 30.0, 60.0, 5.0
PROBATION_S, ATTEMPT_DEADLINE_S = 5.0, 120.0
BROKER_AWAY_S = 2.0
LIMITS = """
[limits]
reconnect_first_s = 0.2
reconnect_cap_s = 2.0
reported_delay_s = 0.1
probation_idle_s = 5.0
"""

ENDS = {state.value for state in TERMINAL_EXECUTION_STATES}

Log = Callable[[str], None]
Offer = tuple[str, Manifest]


@dataclass
class SwapSoaked:
    """What the run found."""

    minutes: float
    swaps: int = 0
    broker_restarts: int = 0
    frames: int = 0
    frames_lost: int = 0
    swaps_seen: int = 0
    unproven_frames: int = 0
    reasons: dict[int, str] = field(default_factory=dict)
    attempts_told_wrong: dict[int, list[str]] = field(default_factory=dict)
    exit_status: int = -1
    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        wrong = self.frames_lost or self.unproven_frames or self.attempts_told_wrong
        return not wrong and not self.exit_status and memory_slope(self.samples).within_noise

    def as_dict(self) -> dict[str, Any]:
        """The JSON that is written."""
        slope = memory_slope(self.samples)
        return {
            **asdict(self),
            "memory": {**asdict(slope), "within_noise": slope.within_noise},
            "holds": self.holds,
            "machine": machine(),
        }


def swap_soak(minutes: float, log: Log = lambda _text: None) -> SwapSoaked:
    """Run it; takes `minutes` and a little. Raises AssertionError where an attempt does not end."""
    found = SwapSoaked(minutes)
    with _running() as (broker, hub, agent, offers):
        agent.start()
        attempts = _attempts(hub, offers)
        next(attempts)
        log("the first build serves")
        began_s = swapped_s = restarted_s = time.monotonic()
        while (now_s := time.monotonic()) - began_s < minutes * 60:
            found.samples.append((now_s - began_s, agent.rss_bytes() / MIB))
            if now_s - restarted_s >= RESTART_EVERY_S:
                restarted_s = now_s
                _restart(broker, hub)
                found.broker_restarts += 1
            if now_s - swapped_s >= SWAP_EVERY_S:
                swapped_s = now_s
                found.swaps = next(attempts) - 1
                end = hub.states(found.swaps + 1)[-1]
                words = "" if end == "SUCCEEDED" else _reason(hub, found.swaps + 1)
                log(f"{now_s - began_s:6.0f} s  swap {found.swaps} {end} {words}")
            time.sleep(SAMPLE_EVERY_S)
        attempts_made = found.swaps + 1
        wait_for(lambda: ENDS & set(hub.states(attempts_made)), "the last end")
        found.exit_status = agent.stop()
        _judge_answers(found, agent.lines, hub)
        for attempt in range(1, attempts_made + 1):
            if (states := hub.states(attempt)) != WHOLE_PATH:
                found.attempts_told_wrong[attempt] = states
                found.reasons[attempt] = _reason(hub, attempt)
    return found


@contextmanager
def _running() -> Iterator[tuple[RunningBroker, FakeHub, WholeAgent, list[Offer]]]:
    """The broker, the hub and the agent, which is not started yet, and two builds on offer."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(mosquitto(folder))
        cameras = stack.enter_context(endless_cameras(folder / "world", 4, SLOT))[2:]
        hub = FakeHub(broker, DEVICE)
        stack.callback(hub.close)
        agent = WholeAgent(
            folder / "device", device=DEVICE, port=broker.port, cameras=cameras, more=LIMITS
        )
        stack.callback(agent.stop)
        yield broker, hub, agent, _offers(hub, folder)


def _offers(hub: FakeHub, folder: Path) -> list[Offer]:
    """Two small builds that answer differently."""
    offers = []
    for version in (1, 2):
        target = folder / f"build-{version}"
        digest, _ = write_bundle(target, model=SLOT, version=version, variant=version)
        offers.append((digest, hub.offer(target, digest)))
    return offers


def _attempts(hub: FakeHub, offers: Sequence[Offer]) -> Iterator[int]:
    """Each `next` desires the other build and waits until it serves for good."""
    for attempt, (digest, manifest) in enumerate(itertools.cycle(offers), start=1):
        hub.desire(SLOT, digest, manifest, attempt=attempt, probation_s=PROBATION_S)
        wait_for(
            lambda number=attempt: ENDS & set(hub.states(number)),  # type: ignore[misc]
            f"an end of attempt {attempt}",
            ATTEMPT_DEADLINE_S,
        )
        yield attempt


def _reason(hub: FakeHub, attempt: int) -> str:
    """The last words on an attempt."""
    told = [e.execution for e in hub.of("events") if getattr(e, "execution", None)]
    words = [execution.reason for execution in told if execution.attempt == attempt]
    return words[-1] if words else "nothing was told"


def _restart(broker: RunningBroker, hub: FakeHub) -> None:
    broker.stop()
    time.sleep(BROKER_AWAY_S)
    broker.start()
    hub.reconnect()


def _judge_answers(found: SwapSoaked, lines: Path, hub: FakeHub) -> None:
    """Frames lost between two answers of one connection, and answers of what was not proven."""
    proven = {
        e.execution.bundle_digest
        for e in hub.of("events")
        if getattr(e, "execution", None) and e.execution.state.value == "PREPARED"
    }
    last: dict[tuple[str, str], tuple[int, str]] = {}
    answers: Counter[str] = Counter()
    for text in lines.read_text().splitlines():
        line = json.loads(text)
        key, digest = (line["camera"], line["connection"]), line["bundle_digest"]
        index, before = last.get(key, (line["index"] - 1, digest))
        found.frames_lost += line["index"] - index - 1
        found.swaps_seen += digest != before
        last[key] = line["index"], digest
        answers[digest] += 1
    found.frames = sum(answers.values())
    found.unproven_frames = sum(n for digest, n in answers.items() if digest not in proven)


def main() -> int:
    from rich.console import Console

    console = Console()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=Path("swap-soak.json"))
    arguments = parser.parse_args()
    found = swap_soak(arguments.minutes, console.print).as_dict()
    arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    console.print({key: value for key, value in found.items() if key != "samples"})
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
