"""The pipelines as text: what they say, since no element of them runs here."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from edge_agent.cameras.gstreamer import quoted
from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener, gstreamer_pipeline
from edge_agent.cameras.source import CameraSpec, Codec, Decoder, Transport
from edge_agent.errors import CameraError

TAIL = (
    "nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
    "appsink drop=true max-buffers=1 sync=false"
)


def test_a_csi_camera() -> None:
    assert gstreamer_pipeline(CameraSpec("a", "csi:1", "tiny"), 5) == (
        f"nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM) ! {TAIL}"
    )


@pytest.mark.parametrize(
    ("transport", "protocols"), [(Transport.TCP, "tcp"), (Transport.UDP, "udp+tcp")]
)
@pytest.mark.parametrize("codec", list(Codec))
def test_an_rtsp_camera_that_nvdec_decodes(
    transport: Transport, protocols: str, codec: Codec
) -> None:
    url = "rtsp://u:p@h:554/s?a=1&b=2"
    spec = CameraSpec("a", url, "tiny", decoder=Decoder.NVDEC, codec=codec, transport=transport)
    assert gstreamer_pipeline(spec, 2.5) == (
        f'rtspsrc location="{url}" protocols={protocols} latency=100 drop-on-latency=true '
        "timeout=2500000 tcp-timeout=2500000 ! "
        f"rtp{codec.value}depay ! {codec.value}parse ! nvv4l2decoder ! {TAIL}"
    )


def test_a_pipeline_of_the_users_own_is_taken_as_it_is() -> None:
    spec = CameraSpec("a", "gst: videotestsrc ! appsink ", "tiny")
    assert gstreamer_pipeline(spec, 5) == "videotestsrc ! appsink"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("rtsp://h/s", '"rtsp://h/s"'),
        ('s" ! filesink location="/x', '"s\\" ! filesink location=\\"/x"'),
        ("a\\", '"a\\\\"'),
    ],
)
def test_a_value_cannot_leave_its_quotes(value: str, text: str) -> None:
    assert quoted(value) == text


@pytest.mark.parametrize(
    "spec",
    [
        CameraSpec("a", "csi:0", "tiny"),
        CameraSpec("a", "gst:videotestsrc ! appsink", "tiny"),
        CameraSpec("a", "rtsp://127.0.0.1:9/s", "tiny", decoder=Decoder.NVDEC),
    ],
    ids=["csi", "gst", "nvdec"],
)
def test_without_gstreamer_the_remedy_is_named(
    spec: CameraSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda _backend: False)
    with pytest.raises(CameraError, match=r"apt-get install python3-opencv.*WITH_GSTREAMER=ON"):
        Opener()(spec, "t", CaptureLimits())
