"""The second swap is as good as the first, and so is the hundredth."""

from __future__ import annotations

from edge_agent.cameras.source import CameraSpec
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.update.slot import Slot
from tests.fixtures.seeing import Collected, FakeDetector, eventually, fake_bundle, from_memory
from tests.unit.edge_agent.test_pipeline import FRAMES, build

EXCHANGES = 100


def _bundle(number: int) -> LoadedBundle:
    """Each bundle's answers carry its number; every third has another input size."""
    size = 96 if number % 3 == 0 else 64
    return fake_bundle(
        f"{number:064x}", version=number + 1, mark=0.3 + number / 200, input_size=size
    )


def test_a_hundred_exchanges_lose_no_frame_and_mix_up_no_answer() -> None:
    slot, sink = Slot("tiny"), Collected()
    slot.exchange(_bundle(0))
    cameras = [CameraSpec(c, "m", "tiny") for c in ("a", "b")]
    pipeline, ledger = build(cameras, [slot], sink, from_memory(FRAMES, 10**9))
    pipeline.start()
    let_go: list[LoadedBundle] = []
    for number in range(1, EXCHANGES + 1):
        answered = len(sink.results)
        eventually(lambda seen=answered: len(sink.results) > seen + 2, "frames go on")  # type: ignore[misc]
        old = slot.exchange(_bundle(number))
        assert old is not None
        slot.release(old)
        let_go.append(old)
    pipeline.stop()

    for result in sink.results:
        number = int(result.bundle_digest, 16)
        assert result.version == number + 1
        assert abs(float(result.detections.confidences[0]) - (0.3 + number / 200)) < 1e-6
    numbers = [int(r.bundle_digest, 16) for r in sink.results]
    assert numbers == sorted(numbers), "an old bundle never answers after a new one"
    for camera in ("a", "b"):
        indexes = [r.frame.index for r in sink.results if r.camera == camera]
        assert indexes == list(range(len(indexes)))
        account = ledger.account(camera)
        assert account.in_flight == 0
        assert set(account.dropped) <= {"stopped"}
    detectors = [b.detector for b in let_go]
    assert all(isinstance(d, FakeDetector) and d.closed for d in detectors)
