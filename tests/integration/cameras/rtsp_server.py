"""A looping RTSP camera, run by the system's Python: PORT VIDEO.

The video's H.264 pictures are sent as they are, in real time, again and again; a client
that comes joins what is being sent, as at a real camera.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

# By name: only the system's Python has them, and only in these versions are they asked for.
gi: Any = import_module("gi")
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
GLib: Any = import_module("gi.repository.GLib")
Gst: Any = import_module("gi.repository.Gst")
GstRtspServer: Any = import_module("gi.repository.GstRtspServer")

CAPS = "video/x-h264,stream-format=byte-stream,alignment=au"
FPS = 30
FRAME_NS = 1_000_000_000 // FPS


def pictures(video: str) -> list[Any]:
    """The coded pictures of `video`, in the order in which they are sent."""
    pipeline = Gst.parse_launch(
        f'filesrc location="{video}" ! qtdemux ! h264parse ! {CAPS} ! appsink name=out sync=false'
    )
    out = pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    found = []
    while (sample := out.emit("try-pull-sample", 5 * Gst.SECOND)) is not None:
        buffer = sample.get_buffer()
        found.append(buffer.extract_dup(0, buffer.get_size()))
    pipeline.set_state(Gst.State.NULL)
    return found


class Loop:
    """Feeds an appsrc with the pictures, each a frame's time after the one before."""

    def __init__(self, coded: list[Any]) -> None:
        self.coded, self.sent = coded, 0

    def configure(self, _factory: Any, media: Any) -> None:
        source = media.get_element().get_by_name("in")
        source.connect("need-data", self.feed)
        self.sent = 0

    def feed(self, source: Any, _bytes: int) -> None:
        buffer = Gst.Buffer.new_wrapped(self.coded[self.sent % len(self.coded)])
        buffer.pts = buffer.dts = self.sent * FRAME_NS
        buffer.duration = FRAME_NS
        self.sent += 1
        source.emit("push-buffer", buffer)


def main(port: str, video: str) -> None:
    Gst.init(None)
    loop = Loop(pictures(video))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( appsrc name=in is-live=true format=time caps={CAPS} ! h264parse ! "
        "rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    factory.set_shared(True)
    factory.connect("media-configure", loop.configure)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.get_mount_points().add_factory("/line", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is not free")
    print(f"serving {len(loop.coded)} pictures", flush=True)  # noqa: T201
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
