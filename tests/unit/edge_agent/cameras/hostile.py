"""Image files that lie, break off, or have an unusual form; each written by a function."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.fixtures.seeing import image

Write = Callable[[Path], object]
Make = Callable[[], bytes]
SMALL = image(40, 30, seed=5)


def encoded(extension: str, picture: npt.NDArray[Any] = SMALL) -> bytes:
    return bytes(cv2.imencode(extension, picture)[1].tobytes())


def of_bytes(data: bytes) -> Write:
    return lambda path: path.write_bytes(data)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header states a size, with next to no pixels behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def bmp_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(".bmp"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(".jpg"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.png", encoded(".png"))
    return target.getvalue()


def pages() -> bytes:
    """A TIFF of two pages, each of its own size."""
    return bytes(cv2.imencodemulti(".tif", [SMALL, image(20, 10)])[1].tobytes())


def animated() -> bytes:
    return saved("WEBP", [SMALL, image(40, 30, seed=6)], save_all=True, lossless=True)


def saved(form: str, pictures: list[npt.NDArray[Any]], mode: str = "", **options: object) -> bytes:
    """Pictures (BGR) as Pillow writes them, converted to `mode` first."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the rarer forms of images")
    made = [pillow.fromarray(np.ascontiguousarray(p[:, :, ::-1])) for p in pictures]
    if mode:
        made = [m.convert(mode) for m in made]
    if options.pop("save_all", False):
        options |= {"save_all": True, "append_images": made[1:]}
    target = io.BytesIO()
    made[0].save(target, form, **options)
    return target.getvalue()


def turned_by_exif() -> bytes:
    """A JPEG of 40x30 whose EXIF says: turn by 90 degrees."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the rarer forms of images")
    exif = pillow.Exif()
    exif[0x0112] = 6
    return saved("JPEG", [SMALL], exif=exif)


def with_holes(data: bytes, every: int) -> bytes:
    """`data` with a byte changed here and there, its first 200 bytes left alone."""
    holed = bytearray(data)
    for place in range(200, len(holed), every):
        holed[place] ^= 0x5A
    return bytes(holed)


def endless(path: Path) -> None:
    """A sparse file of 300 MiB."""
    with path.open("wb") as file:
        file.write(encoded(".png"))
        file.truncate(300 * 1024 * 1024)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def link_to_an_image(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(encoded(".png"))
    path.symlink_to(target)


def unreadable(path: Path) -> None:
    path.write_bytes(encoded(".png"))
    path.chmod(0)


def directory(path: Path) -> None:
    path.mkdir()


def named_pipe(path: Path) -> None:
    os.mkfifo(path)
