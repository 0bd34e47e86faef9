"""Proof in a child process: whatever the model does, an answer comes back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from edge_agent.config import Limits
from edge_agent.update import prove
from edge_agent.update.prove import Proof, run_proof
from tests.fixtures.models import write_bundle

MODULE = "tests.unit.edge_agent.misbehaving_child"


def proof(folder: Path, incumbent: tuple[Path, str] | None = None, **bundle: Any) -> Proof:
    digest, _ = write_bundle(folder, **bundle)
    return run_proof(folder, digest, incumbent, Limits(), threading.Event())


def test_a_good_build_passes_with_its_figures(tmp_path: Path) -> None:
    incumbent, _ = write_bundle(tmp_path / "incumbent", variant=2)
    told = proof(tmp_path / "b", (tmp_path / "incumbent", incumbent))
    assert (told.passed, told.reason) == (True, "")
    figures = told.figures
    assert figures["golden_frames"] == 3
    assert figures["golden_confidence_error_max"] < 0.02
    assert 0 < figures["proof_latency_ms"] < 1000
    assert figures["proof_latency_ratio"] > 0
    assert 0 < figures["proof_memory_bytes"] < 1e9


def test_without_an_incumbent_there_is_no_ratio(tmp_path: Path) -> None:
    told = proof(tmp_path / "b")
    assert told.passed and "proof_latency_ratio" not in told.figures


def test_what_is_seen_faintly_only_is_compared_and_need_not_be_served(tmp_path: Path) -> None:
    """Of patterns a sound model sees little: 0.02 to 0.12 here, below what a camera serves."""
    faint: dict[str, Any] = {"variant": -24, "golden_floor": 0.01}
    told = proof(tmp_path / "b", **faint)
    assert (told.passed, told.reason) == (True, "")
    spoilt = proof(tmp_path / "spoilt", golden_error=0.05, **faint)
    assert not spoilt.passed and "is seen at" in spoilt.reason


def test_an_incumbent_that_does_not_load_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    incumbent, _ = write_bundle(tmp_path / "incumbent", model_data=b"damaged")
    told = proof(tmp_path / "b", (tmp_path / "incumbent", incumbent))
    assert told.passed and "proof_latency_ratio" not in told.figures


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        ({"golden_error": 0.1}, "is seen at"),
        ({"model_data": b"nonsense"}, "model.onnx does not load"),
        ({"behaviour": "nan"}, "NaN or infinity"),
        ({"behaviour": "nothing"}, "it finds nothing, where 3 objects are expected"),
        ({"behaviour": "everything"}, "it finds everything: 300 objects"),
        ({"behaviour": "wrong_shape"}, "model.onnx has raw"),
        ({"behaviour": "wrong_classes"}, "classes 7 to 7 where the manifest names 2"),
        ({"behaviour": "hungry"}, "Failed to allocate memory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_a_bad_model_is_refused_with_the_reason(
    bundle: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    told = proof(tmp_path / "b", **bundle)
    assert not told.passed and reason in told.reason


def test_a_slow_model_is_refused_beside_a_quick_one_with_both_figures(tmp_path: Path) -> None:
    quick, _ = write_bundle(tmp_path / "quick")
    told = proof(tmp_path / "b", (tmp_path / "quick", quick), behaviour="slow")
    assert not told.passed
    assert "ms for a frame, the bundle that serves" in told.reason
    assert told.figures["proof_latency_ratio"] > 3
    assert proof(tmp_path / "alone", behaviour="slow").passed


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("segfault", "was killed by SIGSEGV"),
        ("hello", "ended without an answer"),
        ("quit", "out of luck"),
        ("hang", "took longer than 2 s"),
        ("babble", "printed more than"),
    ],
)
def test_a_child_that_misbehaves_is_a_failed_proof(
    manner: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prove, "MODULE", MODULE)
    limits = Limits(proof_timeout_s=2)
    told = run_proof(Path(manner), "0" * 64, None, limits, threading.Event())
    assert not told.passed and reason in told.reason
    assert told.reason.startswith("the proof's process")
