"""A real RTSP camera as a child process that can be killed, frozen and started again."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import lacking
from tests.ports import free_port

SERVER = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = Path("/usr/bin/python3")
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad python3-gi"
)
_PROBE = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "assert all(map(Gst.ElementFactory.find, "
    "('qtdemux', 'h264parse', 'rtph264pay', 'appsrc', 'appsink')))"
)


def need_rtsp_server() -> None:
    """Skip the test where the parts of the server are not installed."""
    probed = (
        SYSTEM_PYTHON.exists()
        and not subprocess.run(
            [str(SYSTEM_PYTHON), "-c", _PROBE], capture_output=True, check=False
        ).returncode
    )
    if not probed:
        lacking(f"no RTSP server: apt-get install {PACKAGES}")


class RtspCamera:
    """Serves `video` at `url`; the port stays the same over kills."""

    def __init__(self, video: Path) -> None:
        self._video, self._port = video, free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._port}/line"

    def start(self) -> None:
        """Returns once it serves."""
        self._process = subprocess.Popen(
            [str(SYSTEM_PYTHON), str(SERVER), str(self._port), str(self._video)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("serving"), f"the RTSP server did not start: {line!r}"

    def kill(self) -> None:
        """SIGKILL, as a camera whose cable is pulled."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing is sent."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def rtsp_camera(video: Path) -> Iterator[RtspCamera]:
    """A camera that serves already, and is gone afterwards."""
    need_rtsp_server()
    camera = RtspCamera(video)
    camera.start()
    try:
        yield camera
    finally:
        camera.kill()
