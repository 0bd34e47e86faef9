"""What each check makes of what it saw."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from email.utils import formatdate
from pathlib import Path

import pytest

from edge_agent.cameras.source import CameraSpec, Decoder
from edge_agent.doctor import (
    broker,
    cameras,
    clock,
    data_folder,
    disk,
    gpu,
    gstreamer,
    hub,
    outputs,
    packages,
    pages,
    python,
    runtimes,
)
from edge_agent.doctor.finding import Box, Finding, Verdict
from edge_agent.local.settings import LocalSection
from protocol.builds import Capabilities, Format, Precision, RuntimeCapability

OK, ADVICE, PROBLEM = Verdict.OK, Verdict.ADVICE, Verdict.PROBLEM
MIB = 1024 * 1024


def verdicts(findings: Iterable[Finding]) -> list[Verdict]:
    found = list(findings)
    assert all(bool(f.remedy) == (f.verdict is not OK) for f in found), "a remedy where one is due"
    return [f.verdict for f in found]


def test_an_old_python_is_a_problem() -> None:
    old, new = python.judge((3, 9), "3.9.1", "aarch64"), python.judge((3, 10), "3.10.0", "x86_64")
    assert verdicts([old, new]) == [PROBLEM, OK]


def test_packages_that_are_missing_or_overwrite_each_other() -> None:
    whole = dict.fromkeys(packages.NEEDED, "1.0") | {"opencv-python": "4.9"}
    assert verdicts(packages.judge(whole)) == [OK]
    both = whole | {"onnxruntime": "1.23", "onnxruntime-gpu": "1.23"}
    assert verdicts(packages.judge(both)) == [PROBLEM, OK]
    assert verdicts(packages.judge(whole | {"opencv-python-headless": "4.9"})) == [PROBLEM, OK]
    assert verdicts(packages.judge(whole | {"numpy": None})) == [PROBLEM]


def test_packages_that_are_not_of_the_version_that_the_agent_asks_for() -> None:
    wanted = ["numpy>=1", 'psutil>=999; extra == "edge-base"', 'torch>=999; extra == "hub"']
    found = packages.too_old([*wanted, "no-such-package>=1"])
    assert [(name, needed) for name, _, needed in found] == [("psutil", ">=999")]
    assert verdicts(packages.judge_pins(found)) == [PROBLEM]


def test_the_data_folder_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert data_folder.judge(tmp_path, None).verdict is OK
    assert "No space left" in data_folder.judge(tmp_path, "No space left on device").text


@pytest.mark.parametrize(
    ("free_bytes", "verdict"), [(100 * MIB, PROBLEM), (600 * MIB, ADVICE), (800 * MIB, OK)]
)
def test_room_for_an_update_and_for_the_outbox(free_bytes: int, verdict: Verdict) -> None:
    assert disk.judge(free_bytes, 64 * MIB, 576 * MIB).verdict is verdict


def test_the_clock() -> None:
    judged = [clock.judge(synchronised) for synchronised in (True, False, None)]
    assert verdicts(judged) == [OK, ADVICE, ADVICE]
    assert verdicts(clock.check(Box(Path("agent.toml"))))[0] in {OK, ADVICE}


def capable(*names: str, gpu_there: bool = False) -> Capabilities:
    found = tuple(
        RuntimeCapability(
            runtime=name, version="1.2", formats=(Format.ONNX,), precisions=(Precision.FP32,)
        )
        for name in names
    )
    return Capabilities(
        architecture="x86_64",
        runtimes=found,
        compute_capability="8.7" if gpu_there else None,
    )


def test_runtimes_that_are_missing_are_told_with_how_to_install_them() -> None:
    assert verdicts(runtimes.judge(capable())) == [PROBLEM, OK]
    assert verdicts(runtimes.judge(capable("onnxruntime", "openvino"))) == [OK, OK, OK]
    onnx_only = list(runtimes.judge(capable("onnxruntime")))
    assert verdicts(onnx_only) == [OK, ADVICE, OK]
    assert "edge-openvino" in onnx_only[1].remedy
    with_gpu = runtimes.judge(capable("onnxruntime", "openvino", gpu_there=True))
    assert verdicts(with_gpu) == [OK, OK, ADVICE, ADVICE, OK]


def test_a_gpu_that_is_there_and_cannot_be_asked(tmp_path: Path) -> None:
    assert gpu.judge("Orin", "8.7", True).verdict is OK
    assert gpu.judge(None, None, True).verdict is ADVICE
    assert gpu.judge(None, None, False).verdict is OK
    assert not gpu.is_there(tmp_path)
    vendor = tmp_path / "sys/bus/pci/devices/0000:01:00.0/vendor"
    vendor.parent.mkdir(parents=True)
    vendor.write_text("0x10de\n")
    assert gpu.is_there(tmp_path)


def test_gstreamer_is_needed_only_by_cameras_that_need_it() -> None:
    plain = CameraSpec("a", "/video.mp4", "s")
    csi, own = CameraSpec("b", "csi:0", "s"), CameraSpec("c", "gst:videotestsrc ! appsink", "s")
    fast = CameraSpec("d", "rtsp://x/y", "s", decoder=Decoder.NVDEC)
    assert [gstreamer.needs_gstreamer(c) for c in (plain, csi, own, fast)] == [False] + [True] * 3
    assert gstreamer.judge([plain], False, True, "5").verdict is OK
    assert "b, c" in gstreamer.judge([plain, csi, own], False, True, "5").text
    assert gstreamer.judge([csi], True, True, "5").verdict is OK
    assert gstreamer.judge([plain], True, False, "5").verdict is PROBLEM


def test_cameras_are_told_without_their_credentials() -> None:
    camera = CameraSpec("door", "rtsp://user:secret@10.0.0.9/door", "s")
    seen, lost = cameras.judge(camera, (1280, 720)), cameras.judge(camera, "it has no picture")
    assert verdicts([seen, lost]) == [OK, PROBLEM]
    assert "1280x720" in seen.text
    assert "secret" not in seen.text + lost.text
    assert cameras.judge_live("door", "STREAMING", "").verdict is OK
    assert "refused" in cameras.judge_live("door", "BACKING_OFF", "refused").text


def test_the_hub_by_status_and_clock() -> None:
    assert verdicts(hub.judge("http://hub", 200, 0.5)) == [OK]
    assert verdicts(hub.judge("http://hub", 401, None)) == [PROBLEM]
    assert verdicts(hub.judge("http://hub", 502, None)) == [PROBLEM]
    ahead, behind = list(hub.judge("x", 200, 60)), list(hub.judge("x", 200, -60))
    assert (ahead[1].verdict, behind[1].verdict) == (ADVICE, ADVICE)
    assert ("ahead of" in ahead[1].text, "behind" in behind[1].text) == (True, True)
    now = time.time()
    off_s = hub.clock_off_s(formatdate(now - 90, usegmt=True), now)
    assert off_s == pytest.approx(90, abs=1)
    assert hub.clock_off_s(None, now) is None
    assert hub.clock_off_s("yesterday", now) is None


def test_the_broker() -> None:
    assert broker.judge("b", 8883, True, None).verdict is OK
    assert "refused" in broker.judge("b", 1883, False, "Connection refused").text


def test_outputs_whose_library_is_missing() -> None:
    line = [("plc", "modbus"), ("shelf", "csv")]
    assert verdicts(outputs.judge(line, set())) == [OK]
    lacking = list(outputs.judge(line, {"modbus"}))
    assert verdicts(lacking) == [PROBLEM]
    assert "edge-modbus" in lacking[0].remedy
    assert verdicts(outputs.judge([], set())) == []


def test_the_port_of_the_pages() -> None:
    assert pages.judge(LocalSection(), None, True).verdict is OK
    assert pages.judge(LocalSection(), None, False).verdict is ADVICE
    assert pages.judge(LocalSection(enabled=False), None, False).verdict is OK
    assert "http://x:1/" in pages.judge(LocalSection(), "http://x:1", True).text
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert not pages.is_free(LocalSection(port=taken.getsockname()[1]))
    assert pages.is_free(LocalSection(port=0))
