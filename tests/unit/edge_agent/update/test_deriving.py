"""A bundle that needs an engine gets one before its proof, and says how far that is."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from edge_agent.config import Limits
from edge_agent.detect.tensorrt import probe
from edge_agent.detect.tensorrt.derived import key_of
from edge_agent.detect.tensorrt.errors import EngineBuildError
from edge_agent.store import file_sha256
from edge_agent.update import deriving, engine
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.deriving import Deriving
from edge_agent.update.judging import Judging
from protocol.builds import Capabilities
from protocol.bundles import canonical, digest
from protocol.states import ExecutionEvent
from tests.fixtures.models import write_bundle
from tests.unit.edge_agent.update.simulated_engine_child import UNBUILDABLE
from tests.unit.edge_agent.update.test_engine import HERE, ORIN, bundle


class Rig:
    """A store with one bundle that needs an engine, and one that does not."""

    def __init__(self, folder: Path, onnx: bytes | None = None) -> None:
        self.bundles = BundleStore(folder / "bundles", folder / "compiled")
        (folder / "bundles").mkdir()
        made = folder / "made"
        self.manifest = bundle(made) if onnx is None else bundle(made, onnx)
        self.digest = self._place(digest(self.manifest), canonical(self.manifest), made)
        plain, manifest = write_bundle(folder / "plain")
        self.plain = self._place(plain, canonical(manifest), folder / "plain")
        native = probe.runtime_capability(ORIN)
        assert native is not None
        judging = Judging(
            bundles=self.bundles,
            limits=Limits(),
            capabilities=lambda: Capabilities(architecture="aarch64", runtimes=(native,)),
            floors=dict,
            wall=lambda: 0.0,
        )
        self.deriving = Deriving(judging, lambda: {self.plain, "0" * 64})

    def _place(self, name: str, manifest_bytes: bytes, folder: Path) -> str:
        files = {p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"}
        manifest = {file_sha256(p) or "": p for p in files}
        self.bundles.place(name, manifest_bytes, manifest)
        return name


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MODULE", "tests.unit.edge_agent.update.simulated_engine_child")
    monkeypatch.setattr(probe, "find_spec", lambda _name: object())
    for module in (engine, deriving):
        monkeypatch.setattr(module, "probe", lambda: ORIN)


def test_only_what_needs_an_engine_gets_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert rig.deriving.decide(rig.plain).event is ExecutionEvent.PROOF_STARTED
    assert rig.deriving.decide(rig.digest).event is ExecutionEvent.BUILD_STARTED
    assert rig.deriving.progress() is None
    told = []
    worker = threading.Thread(
        target=lambda: rig.deriving.build(rig.digest, threading.Event()), daemon=True
    )
    worker.start()
    while worker.is_alive():
        told.append(rig.deriving.progress())
        time.sleep(0.005)
    notes = [outcome for outcome in told if outcome is not None]
    assert notes and all(outcome.note for outcome in notes)
    percents = [outcome.figures["engine_percent"] for outcome in notes]
    assert percents == sorted(percents) and set(percents) <= set(range(0, 101, 5))
    assert rig.deriving.progress() is None
    key = key_of(rig.manifest, HERE)
    (built,) = rig.bundles.engines.glob("*.engine")
    assert built.name.split(".") == [key, file_sha256(built), "engine"]
    assert rig.deriving.engine(rig.digest) == file_sha256(built)
    assert rig.deriving.engine(rig.plain) is None and rig.deriving.engine(None) is None
    assert rig.deriving.engine("0" * 64) is None


def test_what_cannot_be_built_is_no_progress(tmp_path: Path) -> None:
    rig = Rig(tmp_path, UNBUILDABLE)
    with pytest.raises(EngineBuildError):
        rig.deriving.build(rig.digest, threading.Event())
    assert rig.deriving.progress() is None
