from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.cameras.source import (
    CameraSpec,
    SourceKind,
    check_source,
    source_kind,
    without_credentials,
)
from edge_agent.errors import CameraError


@pytest.mark.parametrize(
    ("source", "kind", "live"),
    [
        ("/a/video.mp4", SourceKind.FILE, False),
        ("video.mp4", SourceKind.FILE, False),
        ("rtsp://h/s", SourceKind.STREAM, True),
        ("http://h/s", SourceKind.STREAM, True),
        ("usb:0", SourceKind.USB, True),
        ("usb:/dev/video2", SourceKind.USB, True),
        ("csi:1", SourceKind.CSI, True),
        ("gst:videotestsrc ! appsink", SourceKind.GSTREAMER, True),
        ("gst:rtspsrc location=rtsp://h/s ! appsink", SourceKind.GSTREAMER, True),
        ("x" * 5000, SourceKind.FILE, False),
        ("a\0b", SourceKind.FILE, False),
    ],
)
def test_the_text_names_the_kind(source: str, kind: SourceKind, live: bool) -> None:
    assert source_kind(source) is kind
    assert CameraSpec("a", source, "tiny").is_live is live
    assert CameraSpec("a", source, "tiny", live=not live).is_live is not live


def test_a_folder_is_known_by_being_one(tmp_path: Path) -> None:
    assert source_kind(str(tmp_path)) is SourceKind.FOLDER


@pytest.mark.parametrize(
    "source",
    [
        "/a/video.mp4",
        "rtsp://user:pass@h:554/s?channel=1",
        "RTSP://h/s",
        "https://h/s.mjpg",
        "http://[::1]:8080/s",
        "usb:0",
        "usb:12",
        "usb:/dev/video0",
        "usb:/dev/v4l/by-id/usb-046d_HD-video-index0",
        "csi:0",
        "gst:videotestsrc ! appsink",
        "gst:videotestsrc ! appsink drop=true max-buffers=1 ",
    ],
)
def test_what_can_be_a_source_is_taken(source: str) -> None:
    check_source(source)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("usb:", "usb:0 or usb:/dev/video0"),
        ("usb:first", "usb:0 or usb:/dev/video0"),
        ("usb:-1", "usb:0"),
        ("usb:/etc/passwd", "usb:0"),
        ("csi:", "csi:0"),
        ("csi:front", "csi:0"),
        ("gst:videotestsrc", "end it with `! appsink`"),
        ("gst:videotestsrc ! appsink ! fakesink", "end it with `! appsink`"),
        ("gst:", "end it with `! appsink`"),
        ("ftp://h/video.mp4", "unknown scheme"),
        ("file:///etc/passwd", "names no host"),
        ("concat://a|b", "unknown scheme"),
        ("rtsp:///s", "names no host"),
        ("http://h:99999/s", "bad port"),
        ("http://h:x/s", "bad port"),
        ("rtsp://[::1/s", "names no host"),
        ("rtsp://h/\0", "zero byte"),
    ],
)
def test_what_cannot_be_one_is_refused_with_the_remedy(source: str, says: str) -> None:
    with pytest.raises(CameraError, match=says.replace("!", r"\!")):
        check_source(source)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://user:secret@host:554/s?key=secret", "rtsp://host:554/s"),
        ("rtsp://user:se@cret@host/s", "rtsp://host/s"),
        ("http://host/s#secret", "http://host/s"),
        ("rtsp://user:secret@[::1/s", "rtsp://[::1/s"),
        ("gst:rtspsrc location=rtsp://u:secret@h/s ! appsink", None),
        ("/a/file?.mp4", "/a/file?.mp4"),
        ("usb:0", "usb:0"),
    ],
)
def test_passwords_do_not_reach_messages(source: str, shown: str | None) -> None:
    name = without_credentials(source)
    assert "secret" not in name
    assert name == (shown or "gst:rtspsrc location=rtsp://h/s ! appsink")
    assert CameraSpec("a", source, "tiny").name == name
