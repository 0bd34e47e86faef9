from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from edge_agent.cameras.video import Timeouts, VideoSource, with_connection, without_credentials
from edge_agent.errors import CameraError
from tests.unit.edge_agent.cameras.mjpeg import number_of, numbered


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:1/s", "http://h:1/s?connection=t"),
        ("https://u:p@h/s?a=1&b=", "https://u:p@h/s?a=1&b=&connection=t"),
        ("rtsp://u:p@h/s", "rtsp://u:p@h/s"),
        ("/a/file.mp4", "/a/file.mp4"),
    ],
)
def test_the_token_goes_to_http_sources_only(url: str, expected: str) -> None:
    assert with_connection(url, "t") == expected


def test_passwords_do_not_reach_messages() -> None:
    assert without_credentials("rtsp://user:secret@host:554/s?key=1") == "rtsp://host:554/s"
    with pytest.raises(CameraError) as caught:
        VideoSource(
            "http://user:secret@127.0.0.1:9/s?key=hidden",
            "t",
            live=True,
            timeouts=Timeouts(open_s=1, read_s=1),
        )
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_video_file_gives_every_frame_in_order(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (192, 128))
    for number in range(12):
        writer.write(numbered(number))
    writer.release()
    source = VideoSource(str(path), "t", live=False, timeouts=Timeouts())
    passed_over = source.read(decode=False)
    grabs = [passed_over, *(source.read() for _ in range(12))]
    source.close()
    assert grabs[-1] is None
    assert passed_over is not None
    assert passed_over.image.size == 0
    assert [(g.index, number_of(g.image)) for g in grabs[1:] if g] == [(i, i) for i in range(1, 12)]
    assert source.fps == pytest.approx(25)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(CameraError, match=r"v\.mp4"):
        VideoSource(str(path), "t", live=False, timeouts=Timeouts())
