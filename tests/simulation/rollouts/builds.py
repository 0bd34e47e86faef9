"""A build, the one before it, and devices that can run them or not."""

from __future__ import annotations

from protocol.builds import BuildIdentity, Capabilities, Format, Precision, RuntimeCapability

DIGEST = "a" * 64
OTHER = "b" * 64
IDENTITY = BuildIdentity(
    format=Format.ONNX,
    precision=Precision.FP32,
    runtime="onnxruntime",
    runtime_precision=Precision.FP32,
    input_width=320,
    input_height=320,
)
ABLE = Capabilities(
    architecture="x86_64",
    runtimes=(
        RuntimeCapability(
            runtime="onnxruntime",
            version="1.31",
            formats=(Format.ONNX,),
            precisions=(Precision.FP32,),
        ),
    ),
)
UNABLE = Capabilities(architecture="aarch64", runtimes=())
