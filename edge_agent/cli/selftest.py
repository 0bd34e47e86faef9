"""`argosy-agent selftest`: does this box see as its bundles say it should?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from edge_agent.cli.trial import Trial, run_trial
from edge_agent.config import AgentConfig, Limits
from edge_agent.detect.bundle import load_bundle
from edge_agent.detect.options import LoadOptions
from edge_agent.errors import EdgeError
from edge_agent.evaluate import folder_digest
from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore, verify_folder
from edge_agent.update.prove import Proof, run_proof
from edge_agent.update.states import Committed, committed_name
from protocol.bundles import GoldenOutcome
from protocol.errors import ProtocolError


def committed(config: AgentConfig) -> Iterator[tuple[str, str, Path]]:
    """Slot, digest and folder of each bundle that the device serves after a start.

    Raises EdgeError where a slot has none.
    """
    store = Store(config.device.data_dir)
    bundles = BundleStore(store.bundles)
    for slot in config.slots:
        found = store.load(committed_name(slot), Committed)
        if found is None:
            raise EdgeError(
                f"slot {slot} has no bundle yet; wait for its first update or give --bundle"
            )
        yield slot, found.digest, bundles.path(found.digest)


def one_folder(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """The same for a bundle that a folder holds."""
    yield folder.name, folder_digest(folder), folder


def engines(config: AgentConfig) -> Path:
    """Where the device keeps the engines that it built of its bundles."""
    store = Store(config.device.data_dir)
    return BundleStore(store.bundles, store.compiled).engines


def run_selftest(
    bundles: Iterator[tuple[str, str, Path]],
    seconds: float,
    limits: Limits,
    engines_folder: Path | None = None,
) -> dict[str, Any]:
    """Each bundle on its golden frames, in a child process, then in the real pipeline.

    `engines_folder` holds what the device compiled of bundles that need it.
    Raises EdgeError where there is nothing to test.
    """
    options = LoadOptions(limits.inference_threads_max, engines=engines_folder)
    found = {
        slot: _test(digest, folder, seconds, limits, options) for slot, digest, folder in bundles
    }
    return {"passed": all(test["passed"] for test in found.values()), "slots": found}


def _test(
    digest: str, folder: Path, seconds: float, limits: Limits, options: LoadOptions
) -> dict[str, Any]:
    damage = _damage(folder, digest)
    proof = run_proof(folder, digest, None, limits, threading.Event(), engines=options.engines)
    golden = _golden(proof)
    found: dict[str, Any] = {"bundle": digest, "golden": golden.model_dump(mode="json")}
    try:
        bundle = load_bundle(folder, digest, options)
        try:
            figures = run_trial(bundle, Trial(seconds=seconds))
        finally:
            bundle.detector.close()
    except (EdgeError, ProtocolError) as error:
        return {**found, "passed": False, "pipeline": None, "reason": str(error)}
    reason = damage or proof.reason or figures.reason
    passed = proof.passed and not (damage or figures.reason)
    return {**found, "passed": passed, "pipeline": figures.as_json(), "reason": reason}


def _damage(folder: Path, digest: str) -> str:
    """What is rotten, in words: a model may answer as it should with a bit of it flipped, and not
    be loaded at the next start; else empty."""
    try:
        verify_folder(folder, digest)
    except (EdgeError, ProtocolError) as error:
        return str(error)
    return ""


def _golden(proof: Proof) -> GoldenOutcome:
    figures = proof.figures
    return GoldenOutcome(
        passed=proof.passed,
        frames=int(figures.get("golden_frames", 0)),
        reason=proof.reason,
        confidence_error_max=figures.get("golden_confidence_error_max"),
        box_error_px_max=figures.get("golden_box_error_px_max"),
    )


def table(found: dict[str, Any]) -> Table:
    """The same for people."""
    made = Table("slot", "bundle", "golden frames", "pipeline")
    made.add_column("verdict", overflow="fold")
    for slot, test in found["slots"].items():
        golden, pipeline = test["golden"], test["pipeline"]
        off = golden.get("confidence_error_max")
        made.add_row(
            slot,
            test["bundle"][:12],
            f"{golden['frames']}" + ("" if off is None else f", off by at most {off:.4f}"),
            "none" if pipeline is None else f"{pipeline['frames_per_s']:.1f} frames/s",
            "PASS" if test["passed"] else f"FAIL: {test['reason']}",
        )
    return made
