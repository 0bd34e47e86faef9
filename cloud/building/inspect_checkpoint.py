"""`python -m cloud.building.inspect_checkpoint FILE OUT.json CLEAN.pt`: open an outside .pt.

A checkpoint is a pickle, a program. It is read by PyTorch's restricted reader, and there the
names of network classes stand for empty stand-ins: nothing of Ultralytics is called by the
file. The network is then built anew from its checked description, the tensors are laid into
it, and it is saved: CLEAN.pt holds no byte of the file but tensors, class names and sizes.

Run it behind `cloud.isolation`.
"""

from __future__ import annotations

import contextlib
import pickletools
import sys
import zipfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from cloud.building import architecture
from cloud.building.architecture import DETECTOR, MODULES, NAMESPACES, OTHER_TASKS
from cloud.building.refusal import Refused, answer, class_names, digest
from cloud.input_sizes import SIDE_PX_MAX, SIDE_PX_MIN, SIDE_STEP_PX

ENTRIES_MAX = 20_000
PICKLE_BYTES_MAX = 32 * 1024 * 1024
DEPTH_MAX = 40
DEFAULT_SIDE_PX = 640
CLASS_WIDTH_MAX = 100
"""Of the branches that tell classes apart, as Ultralytics builds them."""


class StandIn:
    """Takes the place of a class that the file names: holds a state and does nothing."""

    origin = ""

    def __new__(cls, *arguments: Any) -> StandIn:
        if arguments:
            # A call with arguments is how a pickle runs a constructor.
            raise Refused(f"it calls {cls.origin} with arguments, as no checkpoint does")
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def get(self, name: str) -> Any:
        state = getattr(self, "state", None)
        return state.get(name) if isinstance(state, dict) else None


def check_archive(path: Path) -> bytes:
    """The pickle inside, once the archive is one that PyTorch writes.

    Raises:
        Refused: it is no archive, is cut off, or would grow when it is unpacked.
    """
    if not zipfile.is_zipfile(path):
        raise Refused("it is no PyTorch archive: cut off, or of the old format, a bare pickle")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            packed = any(e.compress_type != zipfile.ZIP_STORED for e in entries)
            if packed or sum(e.file_size for e in entries) > path.stat().st_size:
                raise Refused("it would grow when unpacked, as no file that PyTorch writes does")
            pickles = [e for e in entries if e.filename.count("/") == 1 and _is_pickle(e)]
            if len(entries) > ENTRIES_MAX or len(pickles) != 1:
                raise Refused("it is no archive of one checkpoint")
            if pickles[0].file_size > PICKLE_BYTES_MAX:
                raise Refused(f"its pickle is larger than {PICKLE_BYTES_MAX} bytes")
            return archive.read(pickles[0])
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError) as error:
        raise Refused(f"its archive is damaged: {error}") from error


def _is_pickle(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith("/data.pkl")


def named_globals(pickle: bytes) -> set[str]:
    """What the pickle names, read without running it.

    Raises:
        Refused: it is no pickle, or computes names while it runs.
    """
    found = set()
    try:
        for instruction, argument, _ in pickletools.genops(pickle):
            if instruction.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
                raise Refused(f"its pickle uses {instruction.name}, as no file of PyTorch's does")
            if instruction.name == "GLOBAL":
                found.add(str(argument).replace(" ", "."))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise Refused(f"its pickle is damaged: {error}") from error
    return found


def load(path: Path) -> dict[str, Any]:
    """The checkpoint with stand-ins for networks.

    Raises:
        Refused: it is of another task, or names what is not on the list.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    named = named_globals(check_archive(path))
    if others := sorted(OTHER_TASKS[name] for name in named & set(OTHER_TASKS)):
        raise Refused(f"it is of another task: {', '.join(others)}", "bring a detector")
    allowed = MODULES | NAMESPACES
    try:
        _refuse_unknown(set(get_unsafe_globals_in_checkpoint(path)) - allowed)
        with safe_globals([(_stand_in(name), name) for name in sorted(allowed)]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (Refused, MemoryError, RecursionError):
        raise
    except Exception as error:
        # Whatever a hostile file breaks in the reader, it is a file that is not taken.
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise Refused(f"it cannot be read safely: {said[0][:300]}") from error
    if not isinstance(found, dict):
        raise Refused("it is no checkpoint of Ultralytics'")
    return found


def _refuse_unknown(names: set[str]) -> None:
    if names:
        listed = ", ".join(sorted(names)[:10])
        raise Refused(f"it names what a detector does not need: {listed}")


def _stand_in(name: str) -> type[StandIn]:
    return type(name.rsplit(".", 1)[1], (StandIn,), {"origin": name})


def tensors(node: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Parameters and persistent buffers by name, as `state_dict` gives them.

    Raises:
        Refused: it is no tree of modules.
    """
    import torch

    if not isinstance(node, StandIn) or node.origin not in MODULES or depth > DEPTH_MAX:
        raise Refused("its network is no tree of layers")
    passing = node.get("_non_persistent_buffers_set") or set()
    for kind in ("_parameters", "_buffers"):
        for name, value in _table(node.get(kind)).items():
            if value is not None and name not in passing:
                if not isinstance(value, torch.Tensor):
                    raise Refused(f"its {prefix}{name} is no tensor")
                yield f"{prefix}{name}", value.detach()
    for name, child in _table(node.get("_modules")).items():
        if child is not None:
            yield from tensors(child, f"{prefix}{name}.", depth + 1)


def _table(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise Refused("a layer of it has no table of parts")
    return found


def build(network: StandIn) -> Any:
    """The network that the checkpoint describes, with its tensors, bit for bit.

    Raises:
        Refused: description and tensors do not belong together.
    """
    import torch
    from ultralytics.nn.tasks import DetectionModel

    described = architecture.description(network.get("yaml"))
    state = dict(tensors(network))
    floats = {t.dtype for t in state.values() if t.is_floating_point()}
    if len(floats) != 1 or not floats <= {torch.float16, torch.float32}:
        raise Refused(f"its tensors are of {sorted(map(str, floats))}, not all fp16 or all fp32")
    try:
        model = DetectionModel(described, ch=3, nc=described["nc"], verbose=False)
        _widen(model, described, state)
        model.to(floats.pop()).load_state_dict(state, strict=True)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        raise Refused(
            f"its tensors are not those of the network that it describes: {str(error)[:300]}"
        ) from error
    if not all(bool(t.isfinite().all()) for t in state.values() if t.is_floating_point()):
        raise Refused("some of its weights are no finite numbers", "bring an undamaged file")
    return model.eval()


def _widen(model: Any, described: dict[str, Any], state: Mapping[str, Any]) -> None:
    """Give the class branches the width that `state` has.

    It follows from the number of classes, but for a network that was trained on from weights
    of more classes: there Ultralytics keeps theirs.
    """
    import torch
    from ultralytics.nn.tasks import DetectionModel

    head, place = model.model[-1], len(model.model) - 1
    for name in ("cv3", "one2one_cv3"):
        branch, last = getattr(head, name, None), state.get(f"model.{place}.{name}.0.2.weight")
        if branch is None or last is None or last.dim() != 4:
            continue
        width = int(last.shape[1])
        if width == branch[0][-1].in_channels or not 1 <= width <= CLASS_WIDTH_MAX:
            continue
        # A copy: the description that a network was made of is written into.
        other = DetectionModel(deepcopy(described), ch=3, nc=width, verbose=False)
        wide = getattr(other.model[-1], name)
        for scale in wide:
            scale[-1] = torch.nn.Conv2d(scale[-1].in_channels, described["nc"], 1)
        setattr(head, name, wide)


def inspect(path: Path, clean: Path) -> dict[str, Any]:
    """Facts of the checkpoint, which is saved anew to `clean`. Raises Refused."""
    import torch
    import ultralytics

    checkpoint = load(path)
    network = checkpoint.get("ema") or checkpoint.get("model")
    if not isinstance(network, StandIn) or network.origin != DETECTOR:
        raise Refused("it holds no whole detector: weights alone do not say what they belong to")
    side_px = _side_px(network, checkpoint)
    model = build(network)
    names = class_names(network.get("names"))
    if names is not None and len(names) != model.yaml["nc"]:
        raise Refused(f"it names {len(names)} classes and tells {model.yaml['nc']} apart")
    model.names = dict(enumerate(names or [str(i) for i in range(model.yaml["nc"])]))
    model.args, model.nc = {"task": "detect", "imgsz": side_px}, model.yaml["nc"]
    stride = max(int(s) for s in model.stride.tolist())
    torch.save(
        {
            "epoch": -1,
            "model": model,
            "ema": None,
            "optimizer": None,
            "train_args": dict(model.args),
            "version": ultralytics.__version__,
        },
        clean,
    )
    sha256, size_bytes = digest(path)
    return {
        "format": "pt",
        "class_names": names,
        "classes": model.yaml["nc"],
        "task": "detect",
        "width": side_px,
        "height": side_px,
        "stride": stride,
        "opset": None,
        "head": "end2end" if hasattr(model.model[-1], "one2one_cv2") else "raw",
        "sha256": sha256,
        "size_bytes": size_bytes,
    }


def _side_px(network: StandIn, checkpoint: dict[str, Any]) -> int:
    """Side of the input that it was trained with, where it says one that can be."""
    for holder in (network.get("args"), checkpoint.get("train_args")):
        table = holder.state if isinstance(holder, StandIn) else holder
        side = table.get("imgsz") if isinstance(table, dict) else None
        if type(side) is int and SIDE_PX_MIN <= side <= SIDE_PX_MAX and side % SIDE_STEP_PX == 0:
            return side
    return DEFAULT_SIDE_PX


if __name__ == "__main__":
    source, out, target = map(Path, sys.argv[1:])
    with contextlib.redirect_stdout(sys.stderr):
        answer(out, lambda: inspect(source, target))
