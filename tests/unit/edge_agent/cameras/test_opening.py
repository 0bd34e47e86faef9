from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener, with_connection, with_transport
from edge_agent.cameras.source import CameraSpec, Transport
from edge_agent.errors import CameraError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:1/s", "http://h:1/s?connection=t"),
        ("https://u:p@h/s?a=1&b=", "https://u:p@h/s?a=1&b=&connection=t"),
        ("http://h/s?user&p=a%2Fb+c;d=%e9", "http://h/s?user&p=a%2Fb+c;d=%e9&connection=t"),
        ("HTTP://h/s?x#part?", "HTTP://h/s?x&connection=t#part?"),
        ("rtsp://u:p@h/s", "rtsp://u:p@h/s"),
        ("/a/file.mp4", "/a/file.mp4"),
    ],
)
def test_the_token_goes_to_http_sources_only(url: str, expected: str) -> None:
    assert with_connection(url, "t") == expected


@pytest.mark.parametrize(
    ("url", "transport", "expected"),
    [
        ("rtsp://h/s", Transport.TCP, "rtsp://h/s?tcp"),
        ("rtsp://h/s?a=1", Transport.UDP, "rtsp://h/s?a=1&udp"),
        ("rtsps://h/s", Transport.TCP, "rtsps://h/s?tcp"),
        ("http://h/s", Transport.UDP, "http://h/s"),
    ],
)
def test_the_transport_goes_to_rtsp_only(url: str, transport: Transport, expected: str) -> None:
    assert with_transport(url, transport) == expected


def refusal(source: Path | str) -> str:
    limits = CaptureLimits(open_timeout_s=1, read_timeout_s=1)
    with pytest.raises(CameraError) as caught:
        Opener()(CameraSpec("a", str(source), "tiny"), "t", limits)
    return str(caught.value)


def test_passwords_do_not_reach_messages() -> None:
    text = refusal("http://user:secret@127.0.0.1:9/s?key=hidden")
    assert "http://127.0.0.1:9/s does not answer" in text
    assert "secret" not in text
    assert "hidden" not in text


def test_a_usb_device_that_is_not_there(tmp_path: Path) -> None:
    assert "usb:/dev/video-none does not open" in refusal("usb:/dev/video-none")


def test_what_is_no_file(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe.mp4", tmp_path / "loop.mp4"
    os.mkfifo(pipe)
    link.symlink_to(link)
    assert "neither a file nor a folder" in refusal(pipe)
    assert "no file or folder at" in refusal(link)
    assert "no file or folder at" in refusal(tmp_path / "gone.mp4")
    assert "no file or folder at" in refusal("x" * 5000)
    assert "neither a file nor a folder" in refusal("/dev/zero")
    assert "zero byte" in refusal("a\0b")
