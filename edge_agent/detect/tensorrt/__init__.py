"""Native TensorRT, 10.3 to 11: engines that are built and run without another runtime between.

The pure parts come first and know no GPU: `engine_file` (the file), `versions` (what differs
between versions), `profile`, `bindings` (buffers), `cache_key` and `progress`. `cuda` and
`library` wrap what NVIDIA ships; `engine` runs a plan through them, `detector` makes it a
Detector, `build` makes plans, `probe` says what the machine has. Importing any of them
imports neither tensorrt nor cuda.

Checked: every name that is used here, and every flag, against the Python bindings of
TensorRT 10.3.0 and 10.16.1 (Python 3.10), 11.0.0 and 11.4.0, loaded on stand-ins of their
libraries; the CUDA calls against cuda-bindings 12.9.10 and 13.5.0 without a driver, where
they answer with the errors that are expected here. The tests run all of it on a simulated
CUDA runtime and TensorRT. None of it has run on a GPU: `python -m pytest tests/gpu` does
that where there is one.
"""
