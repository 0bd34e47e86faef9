"""Detector on native TensorRT."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from edge_agent.detect.detector import Detector
from edge_agent.detect.metadata import Metadata, class_names
from edge_agent.detect.network import NetworkDetector
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.signature import bind
from edge_agent.detect.tensorrt.bindings import signature
from edge_agent.detect.tensorrt.cuda import Cuda, load_runtime
from edge_agent.detect.tensorrt.derived import is_derived, require_engine
from edge_agent.detect.tensorrt.engine_file import EngineMetadata, read_engine
from edge_agent.detect.tensorrt.errors import EngineFileError
from edge_agent.detect.tensorrt.library import load_tensorrt
from edge_agent.detect.tensorrt.network import EngineNetwork
from edge_agent.detect.tensorrt.plan import Plan
from edge_agent.detect.tensorrt.probe import machine, probe
from edge_agent.detect.tensorrt.versions import Version, loads
from protocol.builds import BuildIdentity, Format
from protocol.bundles import MODEL_FILES, Manifest

ENGINE_PATH = MODEL_FILES[Format.TENSORRT][0]


def open_tensorrt(folder: Path, manifest: Manifest, options: LoadOptions) -> Detector:
    """The detector of a bundle's `model.engine`, which was built for this machine, or of the
    engine that this machine built of a bundle's ONNX file.

    Raises:
        BundleError: the engine is not what the manifest says.
        EngineMissingError: this machine has yet to build it.
        DetectorError: the file is no detector's engine, TensorRT or a GPU is missing, or it
            does not load here.
    """
    path = folder / ENGINE_PATH
    if is_derived(manifest):
        path = require_engine(options.engines, manifest, machine(probe()))
    file = read_engine(path)
    trt = load_tensorrt()
    _check_version(file.metadata, manifest.build, Version.parse(str(trt.__version__)))
    with ExitStack() as held:
        cuda = Cuda(load_runtime())
        held.callback(cuda.close)
        plan = Plan(trt, file, ENGINE_PATH)
        held.callback(plan.close)
        said = signature(ENGINE_PATH, plan.tensors, _described(file.metadata))
        network = EngineNetwork(plan, cuda, bind(said, manifest))
        held.callback(network.close)
        network.warm()
        detector = NetworkDetector(network, manifest, options, allocate=cuda.pinned)
        held.pop_all()
    return detector


def _check_version(metadata: EngineMetadata, build: BuildIdentity, runtime: Version) -> None:
    """Refuse in plain words what TensorRT would refuse."""
    said = metadata.tensorrt_version or build.tensorrt_version
    if said is None:
        return
    plan = Version.parse(said)
    if not loads(plan, runtime, metadata.version_compatible):
        raise EngineFileError(
            f"{ENGINE_PATH} is of TensorRT {plan} and this machine has {runtime}; build it here"
        )


def _described(metadata: EngineMetadata) -> Metadata:
    names = metadata.names
    return Metadata(
        task=metadata.task,
        class_names=None if names is None else class_names(ENGINE_PATH, names),
        stride=metadata.stride,
    )
