"""GStreamer pipelines as text, for cameras that OpenCV reaches only through GStreamer.

Pure. They are written for NVIDIA's elements of a Jetson (JetPack 6) and for an OpenCV
that was built with GStreamer.
"""

from __future__ import annotations

from edge_agent.cameras.source import CameraSpec, Codec, Transport

RTSP_LATENCY_MS = 100

_TO_BGR = (
    "nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
    "appsink drop=true max-buffers=1 sync=false"
)
_PARSERS = {
    Codec.H264: "rtph264depay ! h264parse",
    Codec.H265: "rtph265depay ! h265parse",
}


def csi_pipeline(spec: CameraSpec) -> str:
    """The pipeline of a camera on a Jetson's CSI connector, `csi:N`."""
    sensor = int(spec.source.removeprefix("csi:"))
    return f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM) ! {_TO_BGR}"


def nvdec_pipeline(spec: CameraSpec, timeout_s: float) -> str:
    """The pipeline of an RTSP stream that NVIDIA's decoder decodes.

    `timeout_s` bounds connecting and, over UDP, waiting for the first packet.
    """
    protocols = "tcp" if spec.transport is Transport.TCP else "udp+tcp"
    timeout_us = int(timeout_s * 1_000_000)
    source = (
        f"rtspsrc location={quoted(spec.source)} protocols={protocols} "
        f"latency={RTSP_LATENCY_MS} drop-on-latency=true "
        f"timeout={timeout_us} tcp-timeout={timeout_us}"
    )
    return f"{source} ! {_PARSERS[spec.codec]} ! nvv4l2decoder ! {_TO_BGR}"


def given_pipeline(spec: CameraSpec) -> str:
    """The pipeline that `gst:…` gives."""
    return spec.source.removeprefix("gst:").strip()


def quoted(value: str) -> str:
    """`value` as one value of a property, whatever characters it has."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
