"""How much time the loop itself costs beside training and watching, by the demo's own clock."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.harness import Bench, Row, row

TIMEOUT_S = 900.0
SUMMARY_KEYS = ("total_s", "training_s", "stages_s", "map50_after_update", "lost_messages")


def overhead() -> Row:
    """One fast demo: real hub, broker, cameras and agents as processes.

    Last label → training starts, plus training ends → running on all devices, less the
    configured soak and probation.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "simulators", "demo", "--fast", "--plain"]
        command += ["--work", str(folder / "work"), "--out", str(folder / "report")]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        summary_file = folder / "report" / "summary.json"
        if not summary_file.exists():
            raise RuntimeError(f"the demo ended without a summary: {done.stdout[-2000:]}")
        summary = json.loads(summary_file.read_text())
    return row(
        "loop.overhead_s",
        summary["loop_overhead_s"],
        "<= 30",
        unit="s",
        exit_status=done.returncode,
        repetitions=1,
        **{key: summary[key] for key in SUMMARY_KEYS},
    )


BENCHES: dict[str, Bench] = {"loop.overhead_s": overhead}
