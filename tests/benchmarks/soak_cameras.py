"""The cameras of a soak: live MJPEG streams, a video file and a folder, all without end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from simulators.camera import Camera as SimulatedCamera
from simulators.camera import CameraSettings
from simulators.camera_server import CameraServer
from simulators.dataset import CAMERA_START
from simulators.scenes import SCENES, Drift
from simulators.truth import TruthLog
from tests.benchmarks.whole_agent import Camera

STREAM_FPS, FILE_FPS, FOLDER_FPS = 8.0, 10.0, 6.0
PICTURES = 60
SCENE = "factory"


@contextmanager
def endless_cameras(folder: Path, count: int, slot: str) -> Iterator[list[Camera]]:
    """`count` cameras: two streams, then a file, then a folder, and so on."""
    folder.mkdir(parents=True)
    _write_pictures(folder)
    with ExitStack() as stack:
        kinds = itertools.cycle(("stream", "stream", "file", "folder"))
        yield [
            _camera(stack, folder, f"{kind}-{number}", kind, slot)
            for number, kind in zip(range(count), kinds, strict=False)
        ]


def _camera(stack: ExitStack, folder: Path, name: str, kind: str, slot: str) -> Camera:
    if kind == "stream":
        url = stack.enter_context(_stream(name))
        return Camera(name, url, slot)
    if kind == "file":
        return Camera(name, str(folder / "line.avi"), slot, loop=True, fps_max=FILE_FPS)
    return Camera(name, str(folder / "pictures"), slot, loop=True, fps_max=FOLDER_FPS)


@contextmanager
def _stream(name: str) -> Iterator[str]:
    watching = SimulatedCamera(SCENES[SCENE](1), CameraSettings(name, STREAM_FPS))
    server = CameraServer(watching, TruthLog(None))
    server.start()
    try:
        yield f"{server.url}/stream"
    finally:
        server.stop()


def _write_pictures(folder: Path) -> None:
    """The same rendered pictures as a folder of images and as a video."""
    import cv2

    scene, pictures = SCENES[SCENE](2), folder / "pictures"
    pictures.mkdir()
    video = str(folder / "line.avi")
    writer = cv2.VideoWriter(video, cv2.VideoWriter.fourcc(*"MJPG"), FILE_FPS, scene.size)
    for number in range(PICTURES):
        picture, _ = scene.render(CAMERA_START + number, Drift())
        cv2.imwrite(str(pictures / f"{number:03d}.jpg"), picture)
        writer.write(picture)
    writer.release()
