"""`python -m tests.benchmarks.soak --minutes 30`: four cameras through the whole agent.

The agent runs as a process with its link to a real Mosquitto, on the other side of which a
hub made of the protocol's messages installs a small model and acknowledges what comes.
Found are the slope of the agent's memory over the second half, and whether every frame that
was captured was inferred or dropped by a cause, by the windows that the hub was sent.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.link.outbox import Outbox, Quota
from edge_agent.store import Store
from protocol.messages import HarvestPolicy, TelemetryReport, decode
from protocol.topics import Kind
from tests.benchmarks.harness import machine
from tests.benchmarks.soak_cameras import endless_cameras
from tests.benchmarks.whole_agent import WholeAgent
from tests.fixtures.models import write_bundle
from tests.integration.brokers import mosquitto
from tests.integration.edge_agent.fake_hub import FakeHub, wait_for

DEVICE, SLOT = "soak", "tiny"
SAMPLE_EVERY_S = 5.0
WINDOW_S = 5.0
INSTALL_DEADLINE_S = 120.0
NICE = 10
MIB = 2**20

Log = Callable[[str], None]


@dataclass
class Account:
    """One camera's frames, summed over all windows."""

    captured: int = 0
    inferred: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def unaccounted(self) -> int:
        return self.captured - self.inferred - sum(self.dropped.values())

    def add(self, report: TelemetryReport) -> None:
        self.captured += report.stats.frames_captured
        self.inferred += report.stats.frames_inferred
        for cause, frames in report.stats.frames_dropped.items():
            self.dropped[cause] = self.dropped.get(cause, 0) + frames


@dataclass(frozen=True)
class Slope:
    """Theil-Sen slope with its 95 % interval, and how far the samples stray from that line."""

    mib_per_hour: float
    interval_95: tuple[float, float]
    growth_mib: float
    noise_mib: float

    @property
    def within_noise(self) -> bool:
        """No growth, or none that stands out of the samples' own spread."""
        return self.interval_95[0] <= 0 or self.growth_mib <= 2 * self.noise_mib


@dataclass
class Soaked:
    """What a soak found."""

    minutes: float
    samples: list[tuple[float, float]]
    accounts: dict[str, Account]
    windows_lost: int
    exit_status: int
    camera_events: int

    @property
    def unaccounted(self) -> int:
        return sum(abs(account.unaccounted) for account in self.accounts.values())

    def as_dict(self) -> dict[str, Any]:
        """The JSON that is written."""
        slope = memory_slope(self.samples)
        return {
            "minutes": self.minutes,
            "exit_status": self.exit_status,
            "memory": {**asdict(slope), "within_noise": slope.within_noise},
            "frames": {
                camera: {**asdict(account), "unaccounted": account.unaccounted}
                for camera, account in sorted(self.accounts.items())
            },
            "frames_unaccounted": self.unaccounted,
            "windows_lost": self.windows_lost,
            "camera_events": self.camera_events,
            "rss_mib": [[round(at_s, 1), round(mib, 2)] for at_s, mib in self.samples],
            "machine": machine(),
        }


def soak(minutes: float, cameras: int = 4, log: Log = lambda _text: None) -> Soaked:
    """Run the whole; takes `minutes` and a little. Raises AssertionError where it does not go."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            mosquitto(folder) as broker,
            endless_cameras(folder / "world", cameras, SLOT) as watched,
        ):
            hub = FakeHub(broker, DEVICE)
            agent = WholeAgent(
                folder / "device", device=DEVICE, port=broker.port, cameras=watched, nice=NICE
            )
            try:
                agent.start()
                _install(hub, folder / "bundle")
                log("the model is installed")
                samples = _watch(agent, minutes * 60, log)
                status = agent.stop()
                reports = _all_reports(hub, folder / "device" / "data")
            finally:
                agent.stop()
                hub.close()
    return Soaked(
        minutes=minutes,
        samples=samples,
        accounts=_accounts([camera.id for camera in watched], reports),
        windows_lost=max(reports, default=0) - len(reports),
        exit_status=status,
        camera_events=sum(1 for event in hub.of("events") if getattr(event, "camera", None)),
    )


def _install(hub: FakeHub, bundle: Path) -> None:
    """As a hub does: desire the model, send it, wait until it has proven itself."""
    digest, manifest = write_bundle(bundle, model=SLOT)
    hub.offer(bundle, digest)
    hub.desire(SLOT, digest, manifest, telemetry_window_s=WINDOW_S, harvest=HarvestPolicy())
    wait_for(lambda: "SUCCEEDED" in hub.states(), "the model", INSTALL_DEADLINE_S)


def _watch(agent: WholeAgent, duration_s: float, log: Log) -> list[tuple[float, float]]:
    """Resident memory (MiB) every few seconds, by seconds since the start."""
    began_s, samples = time.monotonic(), []
    while (at_s := time.monotonic() - began_s) < duration_s:
        samples.append((at_s, agent.rss_bytes() / MIB))
        if len(samples) % 12 == 1:
            log(f"{at_s:7.0f} s  {samples[-1][1]:.1f} MiB  {agent.results()} results")
        time.sleep(min(SAMPLE_EVERY_S, max(0.0, duration_s - at_s)))
    return samples


def _all_reports(hub: FakeHub, data: Path) -> dict[int, TelemetryReport]:
    """Windows by sequence: those that the hub has, and those that still wait on the disk."""
    store = Store(data)
    outbox = Outbox(store.outbox, DEVICE, Quota(2**40, 2**40))
    try:
        waiting = {entry.sequence: entry.payload for entry in outbox.after("telemetry", 0, 10_000)}
    finally:
        outbox.close()
    reports: dict[int, TelemetryReport] = {
        sequence: decode(Kind.TELEMETRY, payload) for sequence, payload in waiting.items()
    }
    reports |= {report.sequence: report for report in hub.of("telemetry")}
    return reports


def _accounts(cameras: Sequence[str], reports: dict[int, TelemetryReport]) -> dict[str, Account]:
    accounts = {camera: Account() for camera in cameras}
    for report in reports.values():
        accounts[report.camera].add(report)
    return accounts


def memory_slope(samples: Sequence[tuple[float, float]]) -> Slope:
    """Of the second half of `samples` (seconds, MiB)."""
    from scipy.stats import theilslopes  # type: ignore[import-untyped]

    half = np.array(samples[len(samples) // 2 :])
    hours, mib = half[:, 0] / 3600, half[:, 1]
    slope, intercept, low, high = theilslopes(mib, hours)
    return Slope(
        mib_per_hour=float(slope),
        interval_95=(float(low), float(high)),
        growth_mib=float(slope * (hours[-1] - hours[0])),
        noise_mib=float(np.std(mib - (intercept + slope * hours))),
    )


def plot(soaked: Soaked, path: Path) -> None:
    """Memory over time, with the line fitted to the second half."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    minutes, mib = np.array(soaked.samples).T
    slope = memory_slope(soaked.samples)
    figure, axes = pyplot.subplots(figsize=(8, 3.5))
    axes.plot(minutes / 60, mib, linewidth=0.9)
    axes.set_ylim(0, float(mib.max()) * 1.2)
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident memory, MiB")
    captured = sum(account.captured for account in soaked.accounts.values())
    axes.set_title(
        f"{len(soaked.accounts)} cameras, {captured} frames captured, "
        f"{soaked.unaccounted} unaccounted; {slope.mib_per_hour:+.2f} MiB/h "
        f"({slope.interval_95[0]:+.2f} to {slope.interval_95[1]:+.2f})",
        fontsize=9,
    )
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> int:
    from rich.console import Console

    console = Console()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("soak.json"), help="a .png lies beside it")
    arguments = parser.parse_args()
    soaked = soak(arguments.minutes, arguments.cameras, console.print)
    found = soaked.as_dict()
    arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    plot(soaked, arguments.out.with_suffix(".png"))
    console.print({key: value for key, value in found.items() if key != "rss_mib"})
    holds = not soaked.unaccounted and not soaked.exit_status and found["memory"]["within_noise"]
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
