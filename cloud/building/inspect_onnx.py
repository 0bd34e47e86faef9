"""`python -m cloud.building.inspect_onnx FILE OUT.json SIDE_PX|- RUN_S`: open an outside ONNX
file.

Everything is bounded before ONNX Runtime sees the file; then it is run once on an empty image
of the size that it is for, so that what its output is was not only read. Where that takes more
than RUN_S, SIGALRM ends this process. Run it behind `cloud.isolation`.
"""

from __future__ import annotations

import ast
import contextlib
import math
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloud.building.refusal import ELSEWHERE, Refused, answer, class_names, digest
from cloud.input_sizes import SIDE_PX_MAX, SIDE_PX_MIN, SIDE_STEP_PX

BYTES_MAX = 1024**3
CPU_S = 60
"""Of all: reading a file of BYTES_MAX, its digest, and the run."""
OPSETS = range(11, 24)
DOMAINS = ("", "ai.onnx")
NODES_MAX = 50_000
SUBGRAPH_DEPTH_MAX = 4
METADATA_CHARACTERS_MAX = 1_000_000
STRIDE = 32
STRIDES = (8, 16, 32)
DETECTIONS_MAX = 1000
TYPED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def read(path: Path) -> Any:
    """The model, once its bytes are all in the file and no more than they say.

    Raises:
        Refused: it is no ONNX file that can be taken.
    """
    import onnx

    if path.stat().st_size > BYTES_MAX:
        raise Refused(f"it is larger than {BYTES_MAX} bytes", "bring a smaller detector")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        raise Refused("it is no ONNX file, or is cut off", "bring an undamaged file") from error
    if not model.HasField("graph") or not model.graph.node:
        raise Refused("it holds no network", "bring an undamaged file")
    check_operators(model)
    for tensor in (t for graph in graphs(model.graph) for t in held_tensors(graph)):
        check_tensor(tensor)
    return model


def graphs(graph: Any, depth: int = 0) -> Iterator[Any]:
    """The graph and those inside its nodes. Raises Refused where they nest too deep."""
    if depth > SUBGRAPH_DEPTH_MAX:
        raise Refused(f"its graphs nest deeper than {SUBGRAPH_DEPTH_MAX}", ELSEWHERE)
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for found in (*inner, *attribute.graphs):
                yield from graphs(found, depth + 1)


def check_operators(model: Any) -> None:
    """Raises Refused where operators are not ONNX's own or of an opset out of bounds."""
    versions = {o.domain: o.version for o in model.opset_import}
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    strange = sorted(
        {n.domain for n in nodes if n.domain not in DOMAINS}
        | {f.domain or f.name for f in model.functions}
    )
    if strange:
        used = sorted({f"{n.domain}.{n.op_type}" for n in nodes if n.domain not in DOMAINS})
        raise Refused(
            f"it uses operators that are not ONNX's own: {(used or strange)[:10]}", ELSEWHERE
        )
    if len(nodes) > NODES_MAX:
        raise Refused(f"it has {len(nodes)} nodes, more than {NODES_MAX}", ELSEWHERE)
    opset = max((versions.get(domain, 0) for domain in DOMAINS), default=0)
    if opset not in OPSETS:
        raise Refused(
            f"its opset is {opset}; {OPSETS[0]} to {OPSETS[-1]} are taken",
            f"export it with opset={OPSETS[-1]}",
        )


def held_tensors(graph: Any) -> Iterator[Any]:
    """Weights and constants."""
    yield from graph.initializer
    if graph.sparse_initializer:
        raise Refused("it holds sparse weights", ELSEWHERE)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise Refused("it holds sparse weights", ELSEWHERE)
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def check_tensor(tensor: Any) -> None:
    """Raises Refused where the bytes lie in another file or do not fit the shape."""
    import onnx

    name = tensor.name[:60]
    if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise Refused(
            f"its weights {name!r} lie in another file", "save it with the weights inside"
        )
    types = onnx.helper.get_all_tensor_dtypes()
    if any(d < 0 for d in tensor.dims) or tensor.data_type not in types:
        raise Refused(f"its tensor {name!r} has no shape or type that can be", ELSEWHERE)
    count = math.prod(tensor.dims)
    if tensor.raw_data:
        item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        # Four-bit types put two into a byte.
        fits = (count + 1) // 2 <= len(tensor.raw_data) <= count * max(1, item)
    else:
        held = max(len(getattr(tensor, name)) for name in TYPED)
        fits = held in (count, 2 * count, (count + 1) // 2)
    if not fits:
        raise Refused(
            f"its tensor {name!r} is said to be {list(tensor.dims)} and holds less or more"
        )


def metadata(model: Any) -> dict[str, Any]:
    """What Ultralytics writes of a model: names, task. Raises Refused."""
    found = {p.key: p.value for p in model.metadata_props}
    if sum(len(v) for v in found.values()) > METADATA_CHARACTERS_MAX:
        raise Refused("it carries too much text about itself", ELSEWHERE)
    task = found.get("task", "detect")
    if task != "detect":
        raise Refused(f"it is of another task: {task[:40]}", "bring a detector")
    try:
        names = ast.literal_eval(found["names"]) if "names" in found else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise Refused("its class names cannot be read", "remove or mend its metadata") from error
    return {"names": class_names(names)}


def input_size(model: Any, side_px: int | None) -> tuple[str, int, int]:
    """Name, width and height of the one input.

    Raises:
        Refused: it takes something else than one image.
    """
    import onnx

    given = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in given]
    if len(inputs) != 1:
        raise Refused(f"it takes {len(inputs)} inputs, a detector one image", "bring a detector")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        raise Refused("its input is not fp32", "export it in fp32: smaller builds are made here")
    dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    _check_layout(dims)
    if None in dims[2:] and side_px is None:
        raise Refused("its input has no fixed size", "name the side of the input with imgsz")
    height, width = (int(d or side_px or 0) for d in dims[2:])
    if side_px is not None and (width, height) != (side_px, side_px):
        raise Refused(
            f"it takes {width}x{height}, not {side_px}x{side_px}",
            "leave imgsz out, or export again",
        )
    if any(
        side % SIDE_STEP_PX or not SIDE_PX_MIN <= side <= SIDE_PX_MAX for side in (width, height)
    ):
        raise Refused(
            f"it takes {width}x{height}; sides are multiples of {SIDE_STEP_PX} up to {SIDE_PX_MAX}",
            "export it with such an imgsz",
        )
    return inputs[0].name, width, height


def _check_layout(dims: list[int | None]) -> None:
    """Raises Refused where an input is not one image of three channels, channels first."""
    if len(dims) != 4:
        raise Refused(
            f"its input has {len(dims)} dimensions, an image has 4: {dims}",
            "export it for images: (1, 3, height, width)",
        )
    if dims[1] not in (3, None):
        if dims[3] == 3:
            raise Refused(
                f"it takes {dims}: the channels come last",
                "export it with the channels first: (1, 3, height, width)",
            )
        raise Refused(
            f"it takes images of {dims[1]} channel{'' if dims[1] == 1 else 's'}: {dims}; a camera "
            "gives 3, also where it sees grey",
            "train and export it for images of 3 channels (Ultralytics: channels: 3)",
        )
    if dims[0] not in (1, None):
        raise Refused(f"it takes {dims[0]} images at once: {dims}", "export it with batch=1")


def run(path: Path, name: str, width: int, height: int, run_s: int) -> list[list[int]]:
    """Shapes of the outputs for an empty image. Raises Refused where it does not run.

    SIGALRM ends the process after `run_s`: a graph with a loop may run for years, and no
    handler of Python's would come to its turn meanwhile.
    """
    import numpy as np
    import onnxruntime

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(run_s)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        blank = np.zeros((1, 3, height, width), np.float32)
        outputs = session.run(None, {name: blank})
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise Refused(f"ONNX Runtime does not run it: {said[0][:300]}", ELSEWHERE) from error
    finally:
        signal.alarm(0)
    return [list(np.shape(output)) for output in outputs]


def head(shapes: list[list[int]], width: int, height: int) -> tuple[str, int | None]:
    """Which head gives such outputs, and the classes that its shape tells, if it does.

    Raises:
        Refused: no detector's.
    """
    places = sum((width // stride) * (height // stride) for stride in STRIDES)
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][0] == 1:
        _, rows, columns = shapes[0]
        if columns == places and rows > 4:
            return "raw", rows - 4
        if columns == 6 and 1 <= rows <= DETECTIONS_MAX:
            return "end2end", None
    raise Refused(
        f"it gives {shapes}; a detector gives (1, N, 6) or (1, 4 + classes, {places})",
        "bring a YOLO detector, exported with batch=1",
    )


def inspect(path: Path, side_px: int | None, run_s: int) -> dict[str, Any]:
    """Facts of the file. Raises Refused."""
    model = read(path)
    names = metadata(model)["names"]
    name, width, height = input_size(model, side_px)
    kind, classes = head(run(path, name, width, height, run_s), width, height)
    if names is not None and classes not in (None, len(names)):
        raise Refused(f"it names {len(names)} classes and tells {classes} apart")
    sha256, size_bytes = digest(path)
    return {
        "format": "onnx",
        "class_names": names,
        "classes": classes if names is None else len(names),
        "task": "detect",
        "width": width,
        "height": height,
        "stride": STRIDE,
        "opset": max(o.version for o in model.opset_import if o.domain in DOMAINS),
        "head": kind,
        "sha256": sha256,
        "size_bytes": size_bytes,
    }


if __name__ == "__main__":
    source, out, side, seconds = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    with contextlib.redirect_stdout(sys.stderr):
        answer(
            Path(out),
            lambda: inspect(Path(source), None if side == "-" else int(side), int(seconds)),
            ELSEWHERE,
        )
