"""Video files from outside: each gives frames in the one form, or a typed error, and an end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.cameras.images import ImageLimits
from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener
from edge_agent.cameras.pixels import bgr
from edge_agent.cameras.source import CameraSpec, Image
from edge_agent.errors import BadImageError, CameraError
from tests.unit.edge_agent.cameras import hostile
from tests.unit.edge_agent.cameras.mjpeg import number_of, numbered

FRAMES = 60
LIMITS = CaptureLimits(images=ImageLimits(pixels_max=192 * 128))
Change = Callable[[bytes], bytes]


@dataclass
class Read:
    """What a source gave until its end."""

    frames: list[Image] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def read(path: Path, limits: CaptureLimits = LIMITS) -> Read:
    """Read the file to its end. Raises CameraError where it does not open."""
    source = Opener()(CameraSpec("a", str(path), "tiny"), "t", limits)
    seen = Read()
    try:
        while len(seen.frames) + len(seen.errors) < 20 * FRAMES:
            try:
                grab = source.read()
                if grab is None:
                    return seen
                seen.frames.append(bgr(grab.image, limits.images.pixels_max))
            except BadImageError as error:
                seen.errors.append(str(error))
    finally:
        source.close()
    raise AssertionError("it has no end")


def video(path: Path, codec: str, frames: int = FRAMES) -> bytes:
    made = path.with_name(f"made{path.suffix}")
    writer = cv2.VideoWriter(str(made), cv2.VideoWriter.fourcc(*codec), 25, (192, 128))
    for number in range(frames):
        writer.write(numbered(number))
    writer.release()
    return made.read_bytes()


def cut(share: float) -> Change:
    return lambda data: data[: int(len(data) * share)]


def garbage(start: float, end: float) -> Change:
    def changed(data: bytes) -> bytes:
        first, last = int(len(data) * start), int(len(data) * end)
        noise = np.random.default_rng(1).integers(0, 256, last - first, dtype=np.uint8)
        return data[:first] + noise.tobytes() + data[last:]

    return changed


REFUSED: dict[str, bytes] = {
    "empty": b"",
    "text": b"this is no video\n" * 100,
    "zip": hostile.zipped(),
    "header only": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "a box of no end": b"\xff\xff\xff\xffmoov" + bytes(100),
    "a box of 2^60 bytes": b"\0\0\0\1moov" + (2**60).to_bytes(8, "big") + bytes(100),
    "playlist of a local file": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
    "list of a file elsewhere": b"ffconcat version 1.0\nfile '/etc/hostname'\n",
    "PNG of 60000x60000": hostile.png_claiming(60_000, 60_000),
    "JPEG of 16000x10000": hostile.jpeg_claiming(16_000, 10_000),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_video_is_refused_by_name(case: str, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(REFUSED[case])
    with pytest.raises(CameraError, match=r"v\.mp4 (does not open; check|holds no frame)"):
        read(path)


def test_a_video_with_too_large_a_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (192, 130))
    writer.write(np.zeros((130, 192, 3), np.uint8))
    writer.release()
    with pytest.raises(CameraError, match=r"v\.avi: a picture of 192x130 has over 24576 pixels"):
        read(path)


def test_an_mp4_whose_index_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(cut(0.6)(video(path, "mp4v")))
    with pytest.raises(CameraError, match="does not open"):
        read(path)


@pytest.mark.parametrize(
    ("suffix", "codec", "change", "frames_min"),
    [
        (".mp4", "mp4v", garbage(0.4, 0.5), 5),
        (".avi", "MJPG", garbage(0.4, 0.5), 5),
        (".avi", "MJPG", garbage(0.1, 0.9), 0),
        (".mkv", "MJPG", garbage(0.4, 0.5), 5),
        (".avi", "MJPG", cut(0.6), FRAMES // 3),
        (".mkv", "MJPG", cut(0.6), FRAMES // 3),
    ],
    ids=["mp4 holed", "avi holed", "avi mostly noise", "mkv holed", "avi cut", "mkv cut"],
)
def test_a_damaged_video_gives_what_can_be_read_and_ends(
    suffix: str, codec: str, change: Change, frames_min: int, tmp_path: Path
) -> None:
    path = tmp_path / f"v{suffix}"
    path.write_bytes(change(video(path, codec)))
    seen = read(path)
    assert frames_min <= len(seen.frames) <= FRAMES
    assert all(f.shape == (128, 192, 3) and f.flags.c_contiguous for f in seen.frames)


def test_a_video_that_is_cut_says_how_much_of_it_there_was(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    path.write_bytes(cut(0.6)(video(path, "MJPG")))
    seen = read(path)
    assert [number_of(f) for f in seen.frames] == list(range(len(seen.frames)))
    assert seen.errors == [
        f"{path} gave {len(seen.frames)} of {FRAMES} frames and no more; the file is damaged"
    ]


def test_a_whole_video_has_no_errors(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    path.write_bytes(video(path, "MJPG"))
    assert read(path).errors == []
    assert len(read(path).frames) == FRAMES


@pytest.mark.parametrize("change", [cut(0.5), garbage(0.3, 0.6)], ids=["cut", "holed"])
def test_a_damaged_h264_video_gives_what_can_be_read_and_ends(
    change: Change, shared_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(change((shared_data / "video" / "bottle-detection.mp4").read_bytes()))
    try:
        seen = read(path, CaptureLimits())
    except CameraError as error:
        assert "does not open" in str(error)
        return
    assert seen.frames
    assert all(f.shape == (360, 640, 3) for f in seen.frames)


def test_a_file_that_grows_or_vanishes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    whole = video(path, "MJPG")
    path.write_bytes(cut(0.5)(whole))
    source = Opener()(CameraSpec("a", str(path), "tiny"), "t", LIMITS)
    assert source.read() is not None
    with path.open("ab") as file:
        file.write(whole[len(whole) // 2 :])
    shutil.move(path, tmp_path / "elsewhere")
    frames = 1
    while True:
        try:
            grab = source.read()
        except BadImageError:
            continue
        if grab is None:
            break
        frames += 1
    source.close()
    assert FRAMES // 3 <= frames <= FRAMES
