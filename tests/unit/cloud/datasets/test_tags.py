"""`tags.csv`: what it says of images, and what of it is refused with its line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.datasets import tags
from cloud.datasets.folder import read_folder
from cloud.datasets.problems import FolderError, Problems
from cloud.datasets.tags import ImageTags, read_tags
from tests.integration.cloud_learning.drawn import write_folder

IMAGES = ("images/train/0.jpg", "images/train/1.jpg", "images/val/10000.jpg")
HEADER = "image,camera,captured_at,site,shift\n"


def read(folder: Path, content: bytes | str) -> tuple[dict[str, ImageTags], list[str]]:
    """What a file of this content says, and the problems."""
    path = folder / tags.FILENAME
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = Problems(folder, 50)
    return read_tags(path, IMAGES, problems), problems.lines


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_what_is_said_of_images(tmp_path: Path, mark: bytes, end: str) -> None:
    lines = (
        "Image, camera,captured_at,site,shift",
        'images/train/0.jpg,belt-1,2026-03-01T08:30:00+01:00,"Ulm, hall 2",night',
        "",
        "./images/train/1.jpg,,1772350200.5, Ulm ,",
        "images/val/10000.jpg,,,,",
    )
    found, problems = read(tmp_path, mark + end.join(lines).encode())
    assert problems == []
    assert found == {
        IMAGES[0]: ImageTags("belt-1", 1772350200.0, {"site": "Ulm, hall 2", "shift": "night"}),
        IMAGES[1]: ImageTags(None, 1772350200.5, {"site": "Ulm"}),
        IMAGES[2]: ImageTags(),
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1772350200", 1772350200.0),
        ("2026-03-01T07:30:00Z", 1772350200.0),
        ("2026-03-01T07:30:00", 1772350200.0),
        ("2026-03-01 07:30", 1772350200.0),
        ("2026-03-01", 1772323200.0),
    ],
)
def test_times(tmp_path: Path, text: str, seconds: float) -> None:
    found, problems = read(tmp_path, f"image,captured_at\n{IMAGES[0]},{text}\n")
    assert (found[IMAGES[0]].captured_at, problems) == (seconds, [])


@pytest.mark.parametrize(
    ("content", "where", "words"),
    [
        ("", "tags.csv:1", "no column image"),
        ("image;site\na;b\n", "tags.csv:1", "no column image"),
        ("image,site,Site\n", "tags.csv:1", "column 'site' twice"),
        ("image,\n", "tags.csv:1", "name has 0 characters"),
        (f"image,{'x' * 65}\n", "tags.csv:1", "name has 65 characters"),
        ("image,lighting\n", "tags.csv:1", "lighting is measured"),
        ("image," + ",".join(f"t{n}" for n in range(17)), "tags.csv:1", "17 tags; 16 are"),
        (f"{HEADER}images/train/7.jpg,,,,\n", "tags.csv:2", "no image of train or val"),
        (f"{HEADER},,,,\n", "tags.csv:2", "no image of train or val"),
        (f"{HEADER}{IMAGES[0]},,,,\n\n{IMAGES[0]},,,,\n", "tags.csv:4", "in line 2 already"),
        (f"{HEADER}{IMAGES[0]},,\n", "tags.csv:2", "has 3 cells, the first line 5 columns"),
        (f"{HEADER}{IMAGES[0]},{'c' * 65},,,\n", "tags.csv:2", "the camera has 65 characters"),
        (f"{HEADER}{IMAGES[0]},,,{'s' * 65},\n", "tags.csv:2", "the site has 65 characters"),
        (f"{HEADER}{IMAGES[0]},,,a\x1b[2Jb,\n", "tags.csv:2", "control character"),
        (f"{HEADER}{IMAGES[0]},,,a\x00b,\n", "tags.csv:2", "control character"),
        (f"{HEADER}{IMAGES[0]},,yesterday,,\n", "tags.csv:2", "'yesterday' is no time"),
        (f"{HEADER}{IMAGES[0]},,1772350200000,,\n", "tags.csv:2", "is no time"),
        (f"{HEADER}{IMAGES[0]},,nan,,\n", "tags.csv:2", "is no time"),
        (f"{HEADER}{IMAGES[0]},,1_0,,\n", "tags.csv:2", "is no time"),
        (f"{HEADER}{IMAGES[0]},,1900-01-01,,\n", "tags.csv:2", "is no time"),
        (f'{HEADER}{IMAGES[0]},"open,,,\n', "tags.csv:2", "no line of comma separated"),
        (f"{HEADER}{IMAGES[0]},\rb,,,\n", "tags.csv:2", "no line of comma separated"),
        (HEADER.encode() + b"\xff\xfe,,,,\n", "tags.csv:2", "not in UTF-8"),
        (HEADER.encode("utf-16"), "tags.csv:1", "not in UTF-8"),
        (HEADER + "x" * 20_000, "tags.csv:2", "over 16384 bytes"),
        (b"\x00" * 20_000, "tags.csv:1", "over 16384 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, content: bytes | str, where: str, words: str
) -> None:
    _, problems = read(tmp_path, content)
    assert problems[0].startswith(f"{where}: ")
    assert words in problems[0]
    assert len(problems) == 1


def test_every_problem_is_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = ("images/no.jpg,,,,", f"{IMAGES[0]},,never,,", f"{IMAGES[1]},cam,,,", "short")
    found, problems = read(tmp_path, HEADER + "\n".join(rows))
    assert [line.split(": ")[0] for line in problems] == [f"tags.csv:{n}" for n in (2, 3, 5)]
    assert found == {IMAGES[1]: ImageTags("cam")}


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/no/where")],
    ids=["folder", "pipe", "loose link"],
)
def test_a_table_that_is_no_file_is_a_problem(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / tags.FILENAME)
    problems = Problems(tmp_path, 50)
    assert read_tags(tmp_path / tags.FILENAME, IMAGES, problems) == {}
    assert "is no file of at most" in problems.lines[0]


def test_a_table_over_its_bound_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tags, "FILE_BYTES_MAX", len(HEADER) - 1)
    found, problems = read(tmp_path, HEADER)
    assert (found, len(problems)) == ({}, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    found, problems = read(tmp_path, HEADER.encode() + content)
    assert set(found) <= set(IMAGES)
    assert problems or not content.strip(b"\r\n \t\x0b\x0c") or content.decode()


def test_a_folder_takes_them(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", train=2, val=1, side_px=64)
    bare = read_folder(folder)
    assert all(image.tags == ImageTags() for image in bare.train + bare.val)
    (folder / tags.FILENAME).write_text(f"image,site\n{IMAGES[2]},Ulm\n")
    content = read_folder(folder)
    assert [image.tags for image in content.val] == [ImageTags(tags={"site": "Ulm"})]
    assert content.train == bare.train


def test_a_folder_with_bad_tags_is_refused_with_all_else_that_is_wrong(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", train=2, val=1, side_px=64)
    (folder / tags.FILENAME).write_text("image,site\nno.jpg,Ulm\n")
    (folder / "labels/train/1.txt").unlink()
    with pytest.raises(FolderError) as refused:
        read_folder(folder)
    assert [p.split(": ")[0] for p in refused.value.problems] == [
        "tags.csv:2", "labels/train/1.txt",
    ]  # fmt: skip
