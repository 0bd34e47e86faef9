"""What a proof holds for: one attempt, against one incumbent."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge_agent.config import Limits
from edge_agent.errors import EdgeError
from edge_agent.update import proving
from edge_agent.update.load import NoMemoryError
from edge_agent.update.prove import Proof
from edge_agent.update.proving import Proving
from protocol.states import ExecutionEvent
from tests.fixtures.seeing import fake_bundle

A, B, C = "a" * 64, "b" * 64, "c" * 64


class Bench:
    """Proofs that are counted, and a loader that fails as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proofs: list[tuple[str, Any]] = []
        self.passes, self.error = True, cast("EdgeError | None", None)
        bundles = SimpleNamespace(path=lambda digest: digest, engines=None)
        loader = SimpleNamespace(beside=self._load)
        self.proving = Proving(cast("Any", bundles), cast("Any", loader), Limits())
        monkeypatch.setattr(proving, "run_proof", self._run)

    def _run(self, _path: str, digest: str, incumbent: Any, *_: Any, **__: Any) -> Proof:
        self.proofs.append((digest, incumbent))
        return Proof(self.passes, "" if self.passes else "it is worse", {})

    def _load(self, digest: str, _measured: float | None) -> Any:
        if self.error is not None:
            raise self.error
        return fake_bundle(digest, 1)

    def prove(self, digest: str = B, running: str | None = A) -> Any:
        return self.proving.prove(digest, running, threading.Event())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_a_proof_that_was_passed_is_not_repeated_for_want_of_memory(bench: Bench) -> None:
    bench.error = NoMemoryError("no memory")
    with pytest.raises(NoMemoryError):
        bench.prove()
    bench.error = None
    _, loaded = bench.prove()
    assert loaded.digest == B
    assert bench.proofs == [(B, (A, A))]


def test_another_attempt_and_another_incumbent_are_another_proof(bench: Bench) -> None:
    bench.prove()
    bench.prove(running=C)
    bench.proving.forget()
    bench.prove(running=C)
    assert bench.proofs == [(B, (A, A)), (B, (C, C)), (B, (C, C))]


def test_what_does_not_pass_is_not_loaded(bench: Bench) -> None:
    bench.passes = False
    outcome, loaded = bench.prove(running=None)
    assert (outcome.event, outcome.reason, loaded) == (ExecutionEvent.REFUSED, "it is worse", None)
    assert bench.proofs == [(B, None)]
