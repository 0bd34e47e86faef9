"""The real agent is updated over a real broker by a hub that speaks only the protocol."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.models import confidence, write_bundle
from tests.integration.brokers import embedded, mosquitto
from tests.integration.edge_agent.device import DEVICE_ID, SLOT, Device
from tests.integration.edge_agent.fake_hub import WHOLE_PATH, FakeHub, wait_for

pytestmark = pytest.mark.integration


def install(hub: FakeHub, folder: Path, variant: int, attempt: int, **desire: Any) -> str:
    """Offer a bundle, desire it, and wait until it runs for good."""
    digest, manifest = write_bundle(folder, variant=variant, version=attempt)
    hub.offer(folder, digest)
    hub.desire(SLOT, digest, manifest, attempt=attempt, **desire)
    wait_for(lambda: "SUCCEEDED" in hub.states(attempt), f"success of attempt {attempt}")
    return digest


@pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
def test_first_install_then_swap_without_missing_a_frame(kind: str, tmp_path: Path) -> None:
    with mosquitto(tmp_path) if kind == "mosquitto" else embedded() as broker:
        hub, device = FakeHub(broker, DEVICE_ID), Device(tmp_path / "device", broker)
        device.start()
        try:
            first = install(hub, tmp_path / "b1", variant=1, attempt=1)
            assert hub.states(1) == WHOLE_PATH
            second = install(hub, tmp_path / "b2", variant=5, attempt=2)
            assert hub.states(2) == WHOLE_PATH
            wait_for(lambda: hub.running(SLOT) == second, "the report of the second bundle")
            wait_for(
                lambda: device.detections()[-1]["bundle_digest"] == second, "answers of the second"
            )
            assert device.stop() == 0
        finally:
            hub.close()
            if device.process is not None and device.process.poll() is None:
                device.kill()
    lines = device.detections()
    assert {line["bundle_digest"] for line in lines} == {first, second}
    for before, after in itertools.pairwise(lines):
        if before["connection"] == after["connection"]:
            assert after["index"] == before["index"] + 1, "a frame was missed"
    seen = lines[-1]["detections"][0]["confidence"]
    assert confidence(5, 0) - 1e-4 <= seen <= confidence(5, 1) + 1e-4


def test_killed_during_download_goes_on_with_what_it_has(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    digest, manifest = write_bundle(tmp_path / "b", padding_bytes=2_000_000)
    hub.offer(tmp_path / "b", digest)
    padding = manifest.file("padding.bin").sha256
    hub.spoil = lambda sha, index, data: None if sha == padding and index >= 7 else data
    device.start()
    hub.desire(SLOT, digest, manifest)
    partial = device.data / "partial" / SLOT / padding
    seventh = manifest.file("padding.bin").chunks[6]
    wait_for(lambda: _has_bytes(partial, seventh.offset, seventh.length), "the seventh chunk")
    device.kill()
    hub.wants.clear()
    hub.spoil = lambda _sha, _index, data: data
    device.start()
    wait_for(lambda: "SUCCEEDED" in hub.states(), "success")
    again = [w for wants in hub.wants for w in wants.blobs if w.sha256 == padding]
    assert again, "the rest was not asked for"
    assert again[0].ranges == ((7, len(manifest.file("padding.bin").chunks)),)


def _has_bytes(path: Path, offset: int, length: int) -> bool:
    return path.exists() and any(path.read_bytes()[offset : offset + length])


def test_wrong_and_lost_chunks_are_counted_and_asked_again(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    digest, manifest = write_bundle(tmp_path / "b", padding_bytes=2_000_000)
    hub.offer(tmp_path / "b", digest)
    spoilt: set[tuple[str, int]] = set()

    def spoil(sha: str, index: int, data: bytes) -> bytes | None:
        if index % 3 == 0 and (sha, index) not in spoilt:
            spoilt.add((sha, index))
            return None if index % 2 else b"x" * len(data)
        return data

    hub.spoil = spoil
    device.start()
    hub.desire(SLOT, digest, manifest)
    wait_for(lambda: "SUCCEEDED" in hub.states(), "success")
    wrong = sum(1 for _, index in spoilt if index % 2 == 0)
    wait_for(lambda: hub.reports[-1].counters.get("chunks_wrong") == wrong, "the count")


def test_a_build_that_fails_its_golden_frames_is_refused_and_the_incumbent_stays(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    device.start()
    good = install(hub, tmp_path / "good", variant=1, attempt=1)
    digest, manifest = write_bundle(tmp_path / "bad", variant=2, golden_error=0.2)
    hub.offer(tmp_path / "bad", digest)
    hub.desire(SLOT, digest, manifest, attempt=2)
    wait_for(lambda: "REJECTED" in hub.states(2), "the refusal")
    told = [e.execution for e in hub.of("events") if e.execution and e.execution.attempt == 2]
    assert "golden/000.png" in told[-1].reason
    broken, manifest = write_bundle(tmp_path / "broken", variant=3, model_data=b"no model at all")
    hub.offer(tmp_path / "broken", broken)
    hub.desire(SLOT, broken, manifest, attempt=3)
    wait_for(lambda: "REJECTED" in hub.states(3), "the refusal of a broken model")
    wait_for(lambda: hub.reports[-1].desired_generation == 3, "the report")
    assert hub.running(SLOT) == good
    assert device.status()["slots"][SLOT]["serves"] == good


def test_a_build_for_another_runtime_is_no_artifact(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    digest, manifest = write_bundle(tmp_path / "b", runtime="tensorrt")
    hub.offer(tmp_path / "b", digest)
    device.start()
    hub.desire(SLOT, digest, manifest)
    wait_for(lambda: hub.states() == ["QUEUED", "NO_ARTIFACT"], "the verdict")
    assert "needs the runtime tensorrt" in hub.of("events")[-1].execution.reason


def test_a_newer_desired_state_supersedes_a_download(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    stuck, manifest = write_bundle(tmp_path / "stuck", variant=1, padding_bytes=300_000)
    hub.offer(tmp_path / "stuck", stuck)
    padding = manifest.file("padding.bin").sha256
    hub.spoil = lambda sha, _index, data: None if sha == padding else data
    device.start()
    hub.desire(SLOT, stuck, manifest, attempt=1)
    wait_for(lambda: "DOWNLOADING" in hub.states(1), "the download")
    install(hub, tmp_path / "new", variant=2, attempt=2)
    assert hub.states(1)[-1] == "SUPERSEDED"


def test_killed_in_probation_returns_to_the_last_known_good(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    device.start()
    good = install(hub, tmp_path / "good", variant=1, attempt=1)
    digest, manifest = write_bundle(tmp_path / "new", variant=2)
    hub.offer(tmp_path / "new", digest)
    hub.desire(SLOT, digest, manifest, attempt=2, probation_s=60)
    wait_for(lambda: "PROBATION" in hub.states(2), "probation")
    device.kill()
    device.start()
    wait_for(lambda: "ROLLED_BACK" in hub.states(2), "the way back")
    wait_for(lambda: hub.reports[-1].boot_id != hub.reports[0].boot_id, "a report after the kill")
    assert hub.running(SLOT) == good
    assert hub.states(2)[-2:] == ["ROLLING_BACK", "ROLLED_BACK"]


def test_serves_what_it_committed_without_any_hub(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    device.start()
    good = install(hub, tmp_path / "good", variant=1, attempt=1)
    device.kill()
    hub.close()
    hub._broker.stop()
    (device.folder / "detections.jsonl").unlink()
    device.start()
    seen = wait_for(device.detections, "answers without a hub")
    assert seen[0]["bundle_digest"] == good
    assert device.stop() == 0
