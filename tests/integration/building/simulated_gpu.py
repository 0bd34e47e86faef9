"""`argosy-agent` on a machine with a GPU, simulated: its engines are ONNX files, run on the CPU.

What it is asked, and what it answers with, is what the real agent is asked and answers; the
inference is the real agent's, by ONNX Runtime. Only the plan and its runtime are not real.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from edge_agent.__main__ import app
from protocol.builds import Capabilities, Format, Precision, RuntimeCapability
from protocol.bundles import MANIFEST_PATH, MODEL_PATH, BundleFile, canonical, read_manifest
from protocol.chunks import describe

ENGINE_PATH = "model.engine"
FP32, FP16 = Precision.FP32, Precision.FP16
MACHINE = Capabilities(
    architecture="x86_64",
    runtimes=(
        RuntimeCapability(
            runtime="tensorrt",
            version="10.3.0",
            formats=(Format.TENSORRT,),
            precisions=(FP32, FP16),
        ),
        RuntimeCapability(
            runtime="onnxruntime-cuda",
            version="1.30.0",
            formats=(Format.ONNX,),
            precisions=(FP32, FP16),
        ),
    ),
    gpu_name="Simulated",
    compute_capability="8.7",
    tensorrt_version="10.3.0",
)


def build_engine(given: dict[str, str]) -> None:
    shutil.copyfile(given["--onnx"], given["--out"])
    said = {
        "gpu_name": MACHINE.gpu_name,
        "compute_capability": MACHINE.compute_capability,
        "tensorrt_version": MACHINE.tensorrt_version,
        "driver_version": "550.1",
        "file_precision": given["--file-precision"],
        "precision": given["--precision"],
        "batch": int(given["--batch"]),
        "build_s": 1.5,
    }
    Path(given["--summary"]).write_text(json.dumps(said))


def on_the_cpu(bundle: Path, folder: Path) -> None:
    """The bundle as one for ONNX Runtime on the CPU."""
    manifest = read_manifest((bundle / MANIFEST_PATH).read_bytes())
    files = []
    for entry in manifest.files:
        path = MODEL_PATH if entry.path == ENGINE_PATH else entry.path
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle / entry.path, target)
        files.append(BundleFile(path=path, blob=describe(target.read_bytes())))
    here = {"format": Format.ONNX, "runtime": "onnxruntime", "runtime_precision": FP32}
    build = manifest.build.model_copy(update=here)
    changed = manifest.model_copy(update={"build": build, "files": tuple(files)})
    (folder / MANIFEST_PATH).write_bytes(canonical(changed))


def main(arguments: list[str]) -> None:
    command, *options = arguments
    given = dict(zip(options[::2], options[1::2], strict=True))
    if command == "capabilities":
        sys.stdout.write(MACHINE.model_dump_json())
    elif command == "build-engine":
        build_engine(given)
    else:
        with tempfile.TemporaryDirectory() as folder:
            on_the_cpu(Path(given["--bundle"]), Path(folder))
            given["--bundle"] = folder
            app([command, *(part for pair in given.items() for part in pair)])


if __name__ == "__main__":
    main(sys.argv[1:])
