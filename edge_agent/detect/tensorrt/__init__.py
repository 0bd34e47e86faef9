"""Native TensorRT, 10.3 to 11: engines that are built and run without another runtime between.

The pure parts come first and know no GPU: `engine_file` (the file), `versions` (what differs
between versions), `profile`, `bindings` (buffers), `cache_key` and `progress`. `cuda` and
`library` wrap what NVIDIA ships. `plan` loads an engine, `network` runs it, `detector` makes
it a Detector; `build` makes plans; `probe` says what the machine has. Importing any of them
imports neither tensorrt nor cuda.

Checked: every name and flag that is used here against the Python bindings of TensorRT 10.3.0
and 10.16.1 (Python 3.10), 11.0.0 and 11.4.0 (3.11), loaded on stand-ins for their libraries;
logger and progress monitor were called through them. The CUDA calls were made against
cuda-bindings 12.8.0, 12.9.10 and 13.5.0 without a driver. The unit tests run everything on a
simulated CUDA runtime and TensorRT. None of it has run on a GPU: `python -m pytest tests/gpu`
does that where there is one.
"""
