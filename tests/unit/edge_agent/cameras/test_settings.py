from __future__ import annotations

from dataclasses import fields

import pytest
from pydantic import ValidationError

from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.settings import CameraSection, CaptureSection
from edge_agent.cameras.source import CameraSpec, Codec, Decoder, Region, Transport

BASE = {"id": "a", "source": "rtsp://h/s", "slot": "tiny"}


def test_every_setting_reaches_the_camera() -> None:
    given = {
        "fps_max": 5.0,
        "loop": True,
        "live": False,
        "track": True,
        "rotate": 270,
        "decoder": "nvdec",
        "codec": "h265",
        "transport": "udp",
        "connection_token": False,
        "stale_after_s": 3.0,
        "reopen_after_s": 30.0,
    }
    roi = {"x": 0.25, "y": 0.5, "width": 0.5, "height": 0.25}
    spec = CameraSection.model_validate({**BASE, **given, "roi": roi}).spec()
    assert spec == CameraSpec(
        "a",
        "rtsp://h/s",
        "tiny",
        fps_max=5.0,
        loop=True,
        live=False,
        track=True,
        rotate=270,
        region=Region(0.25, 0.5, 0.5, 0.25),
        decoder=Decoder.NVDEC,
        codec=Codec.H265,
        transport=Transport.UDP,
        connection_token=False,
        stale_after_s=3.0,
        reopen_after_s=30.0,
    )
    left_out = {f.name for f in fields(CameraSpec)} - {*BASE, *given, "region"}
    assert not left_out, "a camera has a field that this test does not set"


def test_what_is_not_given_is_as_the_camera_has_it() -> None:
    assert CameraSection.model_validate(BASE).spec() == CameraSpec("a", "rtsp://h/s", "tiny")
    assert CaptureSection().limits() == CaptureLimits()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": "usb:first"}, "usb:0"),
        ({"source": ""}, "at least 1 character"),
        ({"source": "x" * 5000}, "at most 4096 characters"),
        ({"rotate": 45}, "0, 90, 180 or 270"),
        ({"roi": {"x": 0.5, "width": 0.6}}, "must be 1 at most"),
        ({"roi": {"y": 0.5, "height": 0.6}}, "must be 1 at most"),
        ({"roi": {"width": 0}}, "greater than 0"),
        ({"roi": {"x": -0.1}}, "greater than or equal to 0"),
        ({"roi": {"x": float("nan")}}, "finite"),
        ({"roi": {"left": 1}}, "Extra inputs"),
        ({"decoder": "gpu"}, "'cpu' or 'nvdec'"),
        ({"decoder": "nvdec", "source": "http://h/s"}, "nvdec decodes rtsp"),
        ({"transport": "quic"}, "'tcp' or 'udp'"),
        ({"codec": "av1"}, "'h264' or 'h265'"),
        ({"stale_after_s": 0}, "greater than 0"),
        ({"stale_after_s": 20, "reopen_after_s": 10}, "before stale_after_s"),
        ({"fps_max": float("inf")}, "finite"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        CameraSection.model_validate({**BASE, **changes})


def test_a_password_does_not_reach_the_message() -> None:
    with pytest.raises(ValidationError) as caught:
        CameraSection.model_validate({**BASE, "source": "rtsp://u:secret@h:bad/s"})
    assert "secret" not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(("x", "width"), [(n / 20, 1 - n / 20) for n in range(20)])
def test_a_region_may_end_at_the_edge(x: float, width: float) -> None:
    section = CameraSection.model_validate({**BASE, "roi": {"x": x, "width": width}})
    assert section.spec().region == Region(x, 0.0, width, 1.0)
