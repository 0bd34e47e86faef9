"""Folders in YOLO layout: what is read, and what is refused with file, line and remedy."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloud.datasets.boxes import LabelBox
from cloud.datasets.folder import FolderLimits, read_folder
from cloud.datasets.images import ImageLimits
from cloud.datasets.importer import distinct
from cloud.datasets.problems import FolderError
from cloud.datasets.splits import LeftOut
from tests.integration.cloud_learning.drawn import CLASS_NAMES, write_folder

LIMITS = FolderLimits(problems_max=5, image=ImageLimits(file_bytes_max=50_000, pixels_max=100_000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "set", train=3, val=2, side_px=64)


def bomb(path: Path, side_px: int) -> None:
    """A PNG that says it is side_px x side_px and holds no pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:600])


@dataclass(frozen=True)
class Bad:
    """What is done to the folder, and what the refusal says then."""

    name: str
    spoil: Callable[[Path], object]
    where: str
    words: str


def image(folder: Path) -> Path:
    return folder / "images/train/1.jpg"


def labels(folder: Path) -> Path:
    return folder / "labels/train/1.txt"


def yaml(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "data.yaml").write_text(text)


BAD = (
    Bad("missing label", lambda f: labels(f).unlink(), "labels/train/1.txt", "write it, empty"),
    Bad("class out of range", lambda f: labels(f).write_text("\n7 .5 .5 .1 .1\n"),
        "labels/train/1.txt:2", "data.yaml names 2 classes"),
    Bad("malformed line", lambda f: labels(f).write_text("0 .5 .5\n"),
        "labels/train/1.txt:1", "3 fields; a box is 5"),
    Bad("labels are binary", lambda f: labels(f).write_bytes(b"\x00\xff" * 9),
        "labels/train/1.txt:1", "fields"),
    Bad("no image", lambda f: image(f).write_text("no picture"), "images/train/1.jpg",
        "not a whole image"),
    Bad("cut image", lambda f: cut(image(f)), "images/train/1.jpg", "not a whole image"),
    Bad("empty image", lambda f: image(f).write_bytes(b""), "images/train/1.jpg", "not a whole"),
    Bad("large", lambda f: bomb(image(f), 9000), "images/train/1.jpg", "9000x9000 pixels, over"),
    Bad("bomb", lambda f: bomb(image(f), 90000), "images/train/1.jpg", "more pixels than 100000"),
    Bad("huge file", lambda f: image(f).write_bytes(bytes(60_000)), "images/train/1.jpg",
        "60000 bytes, over 50000"),
    Bad("no yaml", lambda f: (f / "data.yaml").unlink(), "data.yaml", "with data.yaml at its top"),
    Bad("yaml is none", yaml("names: [a"), "data.yaml", "cannot be read as YAML"),
    Bad("yaml is a list", yaml("- a"), "data.yaml", "needs the keys names, train and val"),
    Bad("no val", yaml("names: [a]\ntrain: images/train\n"), "data.yaml", "lacks the key val"),
    Bad("no such folder", yaml("names: [square, disc]\ntrain: images/train\nval: images/vall\n"),
        "images/vall", "correct the path"),
    Bad("nc differs", yaml("names: [square]\nnc: 2\ntrain: images/train\nval: images/val\n"),
        "data.yaml", "nc is 2 and names holds 1"),
    Bad("names are odd", yaml("names: {0: a, 2: b}\ntrain: images/train\nval: images/val\n"),
        "data.yaml", "mapping of 0, 1, 2"),
    Bad("same names", yaml("names: [a, a]\ntrain: images/train\nval: images/val\n"),
        "data.yaml", "differ from each other"),
)  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_folder_is_refused_by_name(folder: Path, bad: Bad) -> None:
    bad.spoil(folder)
    with pytest.raises(FolderError) as refused:
        read_folder(folder, LIMITS)
    (problem,) = refused.value.problems
    assert f"{bad.where}: " in problem
    assert bad.words in problem
    assert "nothing was registered" in refused.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "date: 2023-13-45",
        '0: !!int ""',
        f"train: {'a' * 300}\nval: images/val\nnames: [a]",
        "train: 5\nval: images/val\nnames: [a]",
        "path: [x]\ntrain: images/train\nval: images/val\nnames: [a]",
        "train: !!python/object/apply:os.system [ls]",
        "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nnames: [*c]\ntrain: images/train\nval: images/val",
    ],
)
def test_a_hostile_description_is_refused_as_one_problem(folder: Path, text: str) -> None:
    (folder / "data.yaml").write_text(text)
    with pytest.raises(FolderError, match=r"data\.yaml|not there"):
        read_folder(folder)


def test_all_problems_come_at_once_up_to_a_bound(folder: Path) -> None:
    labels(folder).unlink()
    image(folder).write_text("no picture")
    with pytest.raises(FolderError) as refused:
        read_folder(folder, LIMITS)
    assert len(refused.value.problems) == 2
    labels(folder).write_text("9 .5 .5 .1 .1\n" * 100)
    with pytest.raises(FolderError) as refused:
        read_folder(folder, LIMITS)
    assert len(refused.value.problems) == LIMITS.problems_max + 1
    assert "stopped after 5" in refused.value.problems[-1]


def test_a_folder_is_read_whole(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    content = read_folder(folder, progress=lambda done, total: seen.append((done, total)))
    assert content.class_names == CLASS_NAMES
    assert [i.name for i in content.train] == [f"images/train/{n}.jpg" for n in range(3)]
    assert len(content.val) == 2
    assert all(i.boxes and i.facts.width == 64 for i in content.train + content.val)
    assert seen == [(n, 5) for n in range(1, 6)]


def test_lists_and_names_by_number_are_read_too(folder: Path) -> None:
    (folder / "train.txt").write_text("./images/train/0.jpg\n\nimages/train/2.jpg\n")
    (folder / "data.yaml").write_text(
        "train: train.txt\nval: [images/val]\nnames: {0: square, 1: disc}\n"
    )
    content = read_folder(folder)
    assert [i.path.name for i in content.train] == ["0.jpg", "2.jpg"]
    (folder / "train.txt").write_text("images/train/0.jpg\nimages/train/0.jpg\nimages/no.jpg\n")
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert [p.split(": ")[0] for p in refused.value.problems] == ["train.txt:2", "train.txt:3"]


def test_an_empty_label_file_is_background_and_a_box_that_is_said_twice_counts_once(
    folder: Path,
) -> None:
    labels(folder).write_text("")
    (folder / "labels/train/2.txt").write_text("1 .5 .5 .2 .2\n1 0.5 0.5 0.2 0.2\n")
    content = read_folder(folder)
    assert content.train[1].boxes == ()
    assert content.train[2].boxes == (LabelBox(1, 0.5, 0.5, 0.2, 0.2),)


def test_copies_are_left_out_and_listed(folder: Path) -> None:
    image(folder).write_bytes((folder / "images/train/0.jpg").read_bytes())
    kept, left_out = distinct(read_folder(folder).train)
    assert [i.name for i in kept] == ["images/train/0.jpg", "images/train/2.jpg"]
    assert left_out == [
        LeftOut("images/train/1.jpg", "images/train/0.jpg", 0, "the same file, labelled otherwise")
    ]


def test_a_file_of_val_in_train_is_refused_and_every_pair_listed(folder: Path) -> None:
    for train, val in (("zz", "10000"), ("a", "10001")):
        image = (folder / f"images/val/{val}.jpg").read_bytes()
        (folder / f"images/train/{train}.jpg").write_bytes(image)
        (folder / f"labels/train/{train}.txt").write_text("")
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert [p.split(", ")[0] for p in refused.value.problems] == [
        "images/train/a.jpg: the same file as images/val/10001.jpg of val",
        "images/train/zz.jpg: the same file as images/val/10000.jpg of val",
    ]
    assert "remove it from train or from val" in refused.value.problems[0]


def test_a_train_that_is_val_is_refused_up_to_a_bound(folder: Path) -> None:
    (folder / "data.yaml").write_text(
        "train: [images/val, images/train, images/train, images/train]\n"
        "val: [images/train, images/val]\nnames: [square, disc]\n"
    )
    with pytest.raises(FolderError) as refused:
        read_folder(folder, LIMITS)
    assert len(refused.value.problems) == LIMITS.problems_max + 1


@pytest.mark.parametrize("name", ["deeppcb", "groceries6"])
def test_real_folders_are_read(shared_data: Path, name: str) -> None:
    content = read_folder(shared_data / name)
    assert (len(content.train), len(content.val), len(content.class_names)) == (600, 150, 6)
