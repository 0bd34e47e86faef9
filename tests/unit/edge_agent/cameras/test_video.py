from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener
from edge_agent.cameras.source import CameraSpec, Source
from edge_agent.errors import CameraError
from tests.unit.edge_agent.cameras.mjpeg import number_of, numbered


def opened(path: Path) -> Source:
    return Opener()(CameraSpec("a", str(path), "tiny"), "t", CaptureLimits())


def test_a_video_file_gives_every_frame_in_order(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (192, 128))
    for number in range(12):
        writer.write(numbered(number))
    writer.release()
    source = opened(path)
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
        opened(path)
