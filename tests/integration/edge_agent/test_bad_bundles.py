"""Bundles that no device should ever serve: each is refused with its reason, and the one that
serves goes on serving."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_agent.detect.bundle import load_bundle
from edge_agent.detect.detector import detect
from edge_agent.detect.options import LoadOptions
from protocol.bundles import (
    GOLDEN_PATH,
    MANIFEST_PATH,
    GoldenDetection,
    GoldenFrame,
    GoldenSet,
    Manifest,
    canonical,
    digest,
)
from protocol.chunks import describe
from protocol.states import TERMINAL_EXECUTION_STATES
from tests.fixtures.misbehaving import spoil
from tests.fixtures.models import ROWS, model_bytes, write_bundle
from tests.integration.brokers import mosquitto
from tests.integration.edge_agent.device import DEVICE_ID, SLOT, Device
from tests.integration.edge_agent.fake_hub import FakeHub, wait_for
from tests.integration.edge_agent.faults_bundles import make_bundles
from tests.integration.edge_agent.faults_running import LIMITS, Bundles

pytestmark = pytest.mark.integration

OWN_LIMITS = """\
bundle_bytes_max = 4000000
proof_memory_bytes_max = 1500000000
proof_timeout_s = 15.0
download_timeout_s = 2.0
"""
SHADOW = {"share": 1.0, "frames_min": 10, "detections_min": 1, "duration_max_s": 60.0}


@dataclass
class Line:
    """A device that serves a good bundle, and its hub."""

    device: Device
    hub: FakeHub
    bundles: Bundles
    attempt: int = 1

    def offer(self, folder: Path, policies: dict[str, Any]) -> list[Any]:
        """Desire what lies in `folder`; the reports of the attempt, to its end."""
        self.attempt += 1
        found = digest(manifest_in(folder))
        manifest = self.hub.offer(folder, found)
        self.hub.desire(SLOT, found, manifest, attempt=self.attempt, policies=policies)
        wait_for(self.ended, f"the end of {folder.name}", 120)
        return self.hub.passage(self.attempt)

    def ended(self) -> bool:
        told = self.hub.passage(self.attempt)
        return bool(told) and told[-1].state in TERMINAL_EXECUTION_STATES

    def serves(self) -> str:
        """The digest of an answer that comes from now on."""
        before = len(self.device.detections()) + 2
        wait_for(lambda: len(self.device.detections()) > before, "another answer")
        served: str = self.device.detections()[-1]["bundle_digest"]
        return served


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("line")
    bundles = make_bundles(folder / "bundles")
    with mosquitto(folder) as broker:
        device = Device(folder / "device", broker, limits=LIMITS + OWN_LIMITS)
        shutil.copytree(bundles.device, device.data)
        hub = FakeHub(broker, DEVICE_ID)
        hub.stored.update(bundles.stored)
        hub.generation = 1
        device.start()
        wait_for(lambda: len(device.detections()) > 40, "the good bundle's answers")
        yield Line(device, hub, bundles)
        hub.close()
        assert device.stop() == 0
        print(device.log())  # noqa: T201 - shown by pytest where the test failed


def manifest_in(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / MANIFEST_PATH).read_bytes())


# ---- how to be bad ---------------------------------------------------------------------


def misbehaving(behaviour: str) -> Callable[[Path], None]:
    """Another answer than its golden frames say."""
    return lambda folder: _write(folder, behaviour=behaviour)


def convinced(make: Callable[[bytes], bytes], variant: int = 3) -> Callable[[Path], None]:
    """A bad model, with golden frames that were made by the bad model itself."""

    def write(folder: Path) -> None:
        data = make(model_bytes(variant, 64))
        write_bundle(folder, variant=variant, version=3, model_data=data)
        _believe(folder)

    return write


def _blind(model: bytes) -> bytes:
    return spoil(model, "nothing", 64)


def _sure_of_many(model: bytes) -> bytes:
    """Twenty boxes more in each frame: too few to be nonsense, far more than there are things."""
    import numpy as np
    import onnx

    spoilt = onnx.load_from_string(model)
    for node in spoilt.graph.node:
        if node.output[0] == "output0":
            node.output[0] = "good"
    more = np.zeros((1, ROWS, 6), np.float32)
    corner = np.arange(1, 21, dtype=np.float32) * 2
    more[0, 1:21, :4] = np.stack([corner, corner, corner + 8, corner + 8], axis=1)
    more[0, 1:21, 4] = 0.9
    spoilt.graph.initializer.append(onnx.numpy_helper.from_array(more, "more"))
    spoilt.graph.node.append(onnx.helper.make_node("Add", ["good", "more"], ["output0"]))
    return bytes(spoilt.SerializeToString())


def _truncated(folder: Path) -> None:
    _write(folder, model_data=model_bytes(3, 64)[:-4000])


def _corrupted(folder: Path) -> None:
    data = bytearray(model_bytes(3, 64))
    for at in range(0, len(data), 7):
        data[at] ^= 0x55
    _write(folder, model_data=bytes(data))


def _too_large(folder: Path) -> None:
    _write(folder, padding_bytes=5_000_000)


def _of_another_version(folder: Path) -> None:
    """The golden frames lie about what the picture is."""
    _write(folder, golden_error=0.3)


def _write(folder: Path, **more: Any) -> None:
    write_bundle(folder, variant=3, version=3, **more)


def _believe(folder: Path) -> None:
    """Make the golden frames say what the model says."""
    import cv2
    import numpy as np

    manifest = manifest_in(folder)
    loaded = load_bundle(folder, digest(manifest), LoadOptions())
    frames = []
    for path in sorted(p.relative_to(folder).as_posix() for p in folder.glob("golden/*.png")):
        image = cv2.imread(str(folder / path))
        assert image is not None
        seen = detect(loaded.detector, image.astype(np.uint8))
        answers = zip(seen.class_ids, seen.confidences, seen.boxes, strict=True)
        found = tuple(
            GoldenDetection(class_id=int(c), confidence=float(p), box=tuple(map(float, box)))
            for c, p, box in answers
            if p >= manifest.thresholds.default
        )
        frames.append(GoldenFrame(image=path, detections=found))
    loaded.detector.close()
    data = GoldenSet(frames=tuple(frames)).model_dump_json().encode()
    (folder / GOLDEN_PATH).write_bytes(data)
    files = tuple(
        f.model_copy(update={"blob": describe(data)}) if f.path == GOLDEN_PATH else f
        for f in manifest.files
    )
    believed = manifest.model_copy(update={"files": files})
    (folder / MANIFEST_PATH).write_bytes(canonical(believed))


@dataclass(frozen=True)
class Bad:
    """A bad bundle, and what has to come of it: the last states and the reason."""

    name: str
    write: Callable[[Path], None]
    states: tuple[str, ...]
    reason: str
    policies: dict[str, Any] = field(default_factory=dict)


IN_PROOF, IN_SHADOW, ON_TRIAL = (
    ("PROVING", "REJECTED"),
    ("SHADOWING", "REJECTED"),
    ("PROBATION", "ROLLING_BACK", "ROLLED_BACK"),
)
BAD = [
    Bad("truncated", _truncated, IN_PROOF, "load|model|parse"),
    Bad("corrupted", _corrupted, IN_PROOF, "load|model|parse"),
    Bad("wrong_shape", misbehaving("wrong_shape"), IN_PROOF, "shape|output|head"),
    Bad("nan", misbehaving("nan"), IN_PROOF, "(?i)nan|finite|number"),
    Bad("slow", misbehaving("slow"), IN_PROOF, "latency|slow|times"),
    Bad("nothing", misbehaving("nothing"), IN_PROOF, "finds nothing"),
    Bad("everything", misbehaving("everything"), IN_PROOF, "golden/000.png"),
    Bad("wrong_classes", misbehaving("wrong_classes"), IN_PROOF, "class|golden"),
    Bad("hungry", misbehaving("hungry"), IN_PROOF, "memory"),
    Bad("golden_frames", _of_another_version, IN_PROOF, "golden/000.png"),
    Bad("too_large", _too_large, ("QUEUED", "REJECTED"), "bundle_bytes_max"),
    Bad("blind_on_trial", convinced(_blind), ON_TRIAL, "nothing found"),
    Bad("sure_on_trial", convinced(_sure_of_many), ON_TRIAL, "detections|objects"),
    Bad("blind_in_shadow", convinced(_blind, 4), IN_SHADOW, "shadow", {"shadow": SHADOW}),
    Bad("sure_in_shadow", convinced(_sure_of_many, 4), IN_SHADOW, "shadow", {"shadow": SHADOW}),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_refused(bad: Bad, line: Line, tmp_path: Path) -> None:
    bad.write(tmp_path / bad.name)

    told = line.offer(tmp_path / bad.name, bad.policies)

    states = [report.state.value for report in told]
    assert tuple(states[-len(bad.states) :]) == bad.states, told[-1].reason
    assert re.search(bad.reason, told[-1].reason), told[-1].reason
    assert line.serves() == line.bundles.incumbent
    assert line.device.ended is None
    found = digest(manifest_in(tmp_path / bad.name))
    served = {seen["bundle_digest"] for seen in line.device.detections()}
    assert (found in served) is (bad.states is ON_TRIAL)


def test_spoilt_for_ever_on_the_way(line: Line, tmp_path: Path) -> None:
    _write(tmp_path / "good")
    model = manifest_in(tmp_path / "good").file("model.onnx").sha256
    line.hub.spoil = lambda sha, _index, data: data[::-1] if sha == model else data
    try:
        told = line.offer(tmp_path / "good", {})
    finally:
        line.hub.spoil = lambda _sha, _index, data: data
    assert [report.state.value for report in told[-2:]] == ["DOWNLOADING", "TIMED_OUT"]
    assert "DOWNLOADING took longer than 2 s" in told[-1].reason
    assert line.serves() == line.bundles.incumbent


def test_not_what_was_promised(line: Line, tmp_path: Path) -> None:
    _write(tmp_path / "other")
    found = digest(manifest_in(tmp_path / "other"))
    manifest = line.hub.offer(tmp_path / "other", found)
    line.attempt += 1
    promised = manifest.model_copy(update={"version": 9})
    line.hub.desire(SLOT, found, promised, attempt=line.attempt)
    wait_for(line.ended, "the refusal")
    assert "desired is tiny v9" in line.hub.passage(line.attempt)[-1].reason
    assert line.serves() == line.bundles.incumbent
