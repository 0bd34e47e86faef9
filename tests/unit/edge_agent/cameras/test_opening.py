from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest

from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener, with_connection, with_transport
from edge_agent.cameras.source import CameraSpec, Transport
from edge_agent.errors import CameraError
from tests.unit.edge_agent.cameras import hostile
from tests.unit.edge_agent.cameras.mjpeg import number_of, numbered


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


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.png", hostile.png_claiming(50_000, 50_000), "50000x50000 has over 64000000 pixels"),
        ("a.JPG", hostile.jpeg_claiming(65_000, 65_000), "raise image_pixels_max"),
        ("a.bmp", b"nothing", "a.bmp: is no image; replace or remove it"),
    ],
)
def test_one_image_that_is_refused_says_why(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert says in refusal(tmp_path / name)


def test_one_image_is_a_source(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), numbered(5))
    source = Opener()(CameraSpec("a", str(tmp_path / "a.png"), "tiny"), "t", CaptureLimits())
    grab = source.read()
    assert grab is not None
    assert number_of(grab.image) == 5
    source.close()


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
