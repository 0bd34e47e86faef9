"""Outside checkpoints: which are taken, and that the others do nothing here."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud.building import architecture, importing
from cloud.building.importing import ImportedFile
from cloud.children import ChildFailed, run_child
from cloud.errors import ConfigurationError, InvalidError
from tests.conftest import lacking
from tests.integration.importing.outside import NAMES, Bomb, checkpoint, network, save

pytestmark = pytest.mark.integration


def opened(source: Path, tmp_path: Path, side_px: int | None = None) -> ImportedFile:
    def run(command: Any) -> None:
        run_child(command, tmp_path / "inspection.log")

    try:
        return importing.inspect(source, tmp_path / "inspection", run, side_px)
    except ConfigurationError as error:
        lacking(str(error))


@pytest.mark.parametrize("half", [True, False], ids=["fp16", "fp32"])
def test_a_checkpoint_is_taken_and_saved_anew_bit_for_bit(tmp_path: Path, half: bool) -> None:
    import torch

    source = checkpoint(tmp_path / "mine.pt", half=half)
    found = opened(source, tmp_path)
    facts = found.facts
    assert (facts.class_names, facts.classes, facts.head) == (tuple(NAMES), 2, "end2end")
    assert (facts.task, facts.width, facts.stride, facts.opset) == ("detect", 64, 32, None)
    assert facts.size_bytes == source.stat().st_size
    before = torch.load(source, weights_only=False)["model"].state_dict()
    after = torch.load(found.weights, weights_only=False)["model"].state_dict()
    assert before.keys() == after.keys()
    assert all(
        torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before
    )


def test_one_trained_on_from_weights_of_more_classes_is_taken(tmp_path: Path) -> None:
    import torch

    made = network(NAMES)
    made.load(network([f"thing {i}" for i in range(80)]), verbose=False)
    assert made.model[-1].cv3[0][-1].in_channels == 80, "Ultralytics keeps the width"
    made.names = dict(enumerate(NAMES))
    found = opened(save(tmp_path / "mine.pt", made.half()), tmp_path)
    assert (found.facts.classes, found.facts.head) == (2, "end2end")
    after = torch.load(found.weights, weights_only=False)["model"].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in made.state_dict().items())


def test_the_real_weights_are_taken(tmp_path: Path, shared_data: Path) -> None:
    facts = opened(shared_data / "weights" / "yolo26n-reconstructed.pt", tmp_path).facts
    assert (facts.classes, facts.head) == (80, "end2end")
    with pytest.raises(InvalidError, match="80 classes apart, the dataset 6"):
        importing.check_classes(facts, [f"defect {i}" for i in range(6)])


def test_every_name_on_the_list_is_a_module_class() -> None:
    import importlib

    from torch import nn

    for name in architecture.MODULES:
        module, attribute = name.rsplit(".", 1)
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, type), name
        assert issubclass(found, nn.Module), name


def _bomb(folder: Path) -> Path:
    return save(folder / "x.pt", network(NAMES), date=Bomb(f"touch {folder}/exploded"))


def _legacy(folder: Path) -> Path:
    (folder / "x.pt").write_bytes(pickle.dumps(Bomb(f"touch {folder}/exploded")))
    return folder / "x.pt"


def _activation(folder: Path) -> Path:
    """Ultralytics evaluates the activation as Python."""
    made = network(NAMES)
    made.yaml["activation"] = f"__import__('os').system('touch {folder}/exploded')"
    return save(folder / "x.pt", made)


def _layer(folder: Path) -> Path:
    """Ultralytics looks the layer's name up among its functions."""
    made = network(NAMES)
    made.yaml["backbone"][0] = [-1, 1, "torch_safe_load", [str(folder / "other.pt")]]
    return save(folder / "x.pt", made)


class _Called:
    """A network whose pickle calls its constructor with a path."""

    def __reduce__(self) -> Any:
        from ultralytics.nn.tasks import DetectionModel

        return DetectionModel, ("/etc/passwd",)


def _constructor(folder: Path) -> Path:
    return save(folder / "x.pt", _Called())


def _cut(folder: Path) -> Path:
    whole = checkpoint(folder / "whole.pt").read_bytes()
    (folder / "x.pt").write_bytes(whole[: len(whole) // 2])
    return folder / "x.pt"


def _zip_bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}." + b"\0" * (64 * 1024 * 1024))
    return folder / "x.pt"


def _raw(folder: Path, instructions: bytes) -> Path:
    with zipfile.ZipFile(folder / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", instructions)
        archive.writestr("x/byteorder", "little")
        archive.writestr("x/version", "3\n")
    return folder / "x.pt"


def _allocation(folder: Path) -> Path:
    size = b"\x8a\x06" + (10**13).to_bytes(6, "little")
    return _raw(folder, b"\x80\x02c__builtin__\nbytearray\n" + size + b"\x85R.")


def _nested(folder: Path) -> Path:
    return _raw(folder, b"\x80\x02N" + b"\x85" * 3_000_000 + b".")


def _protocol_4(folder: Path) -> Path:
    held = io.BytesIO()
    pickle.Pickler(held, protocol=4).dump(Bomb(f"touch {folder}/exploded"))
    return _raw(folder, held.getvalue())


def _segment(folder: Path) -> Path:
    return save(folder / "x.pt", network(NAMES, "yolo26n-seg.yaml", "SegmentationModel"))


def _weights_alone(folder: Path) -> Path:
    import torch

    torch.save(network(NAMES).state_dict(), folder / "x.pt")
    return folder / "x.pt"


def _other_tensors(folder: Path) -> Path:
    made = network(NAMES)
    made.yaml["nc"] = 3
    made.names = {0: "a", 1: "b", 2: "c"}
    return save(folder / "x.pt", made)


def _no_number(folder: Path) -> Path:
    made = network(NAMES)
    made.model[0].conv.weight.data[0] = float("nan")
    return save(folder / "x.pt", made)


def _names(folder: Path) -> Path:
    made = network(NAMES)
    made.names = {0: "a"}
    return save(folder / "x.pt", made)


REFUSED: list[tuple[Callable[[Path], Path], str]] = [
    (_bomb, "names what a detector does not need: .*system"),
    (_legacy, "no PyTorch archive"),
    (_activation, "its activation is"),
    (_layer, "names the layer 'torch_safe_load'"),
    (_constructor, "calls ultralytics.nn.tasks.DetectionModel with arguments"),
    (_cut, "no PyTorch archive"),
    (_zip_bomb, "would grow when unpacked"),
    (_allocation, "takes more than is allowed|cannot be read safely"),
    (_nested, "takes more than is allowed|no checkpoint|cannot be read safely|opening it failed"),
    (_protocol_4, "its pickle uses STACK_GLOBAL"),
    (_segment, "another task: segment"),
    (_weights_alone, "no whole detector"),
    (_other_tensors, "not those of the network that it describes"),
    (_no_number, "no finite numbers"),
    (_names, "names 1 classes and tells 2 apart"),
]


@pytest.mark.parametrize(("make", "why"), REFUSED, ids=[m.__name__[1:] for m, _ in REFUSED])
def test_other_checkpoints_are_refused_and_run_nothing(
    tmp_path: Path, make: Callable[[Path], Path], why: str
) -> None:
    source = make(tmp_path)
    with pytest.raises(InvalidError, match=why) as refused:
        opened(source, tmp_path)
    assert refused.value.remedy
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "inspection" / "clean.pt").exists()


def test_a_child_that_is_ended_refuses_the_file(tmp_path: Path) -> None:
    def killed(command: Any) -> None:
        raise ChildFailed("it was ended by SIGKILL; its last words: none")

    with pytest.raises(InvalidError, match=r"more than is allowed.*SIGKILL"):
        importing.inspect(tmp_path / "x.pt", tmp_path / "inspection", killed)


def test_without_a_fence_nothing_is_opened(tmp_path: Path) -> None:
    def no_fence(command: Any) -> None:
        run_child(
            [sys.executable, "-c", "import sys; print('no isolation'); sys.exit(91)"],
            tmp_path / "x.log",
        )

    with pytest.raises(ConfigurationError, match="only opened without network") as refused:
        importing.inspect(tmp_path / "x.pt", tmp_path / "inspection", no_fence)
    assert "namespaces" in refused.value.remedy
