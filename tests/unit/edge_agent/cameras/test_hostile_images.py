"""Image files from outside: each gives a picture in the one form, or a typed error."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.cameras.folder import FolderSource
from edge_agent.cameras.images import ImageLimits, read_image
from edge_agent.errors import BadImageError
from tests.fixtures.seeing import image
from tests.unit.edge_agent.cameras import hostile
from tests.unit.edge_agent.cameras.hostile import SMALL, Make, Write, encoded, of_bytes, saved

REFUSED: dict[str, tuple[str, Write, str]] = {
    "empty": ("a.png", of_bytes(b""), "is no image"),
    "text": ("a.jpg", of_bytes(b"no picture at all\n" * 50), "is no image"),
    "zip": ("a.png", of_bytes(hostile.zipped()), "is no image"),
    "svg": ("a.png", of_bytes(b"<svg width='40' height='30'></svg>"), "is no image"),
    "only a PNG's header": ("a.png", of_bytes(encoded(".png")[:33]), "is no image"),
    "only a PNG's signature": ("a.png", of_bytes(encoded(".png")[:8]), "is no image"),
    "only a JPEG's first bytes": ("a.jpg", of_bytes(encoded(".jpg")[:20]), "is no image"),
    "PNG of 60000x60000": (
        "a.png",
        of_bytes(hostile.png_claiming(60_000, 60_000)),
        "60000x60000 has over 64000000 pixels.*image_pixels_max",
    ),
    "PNG as high as can be": ("a.png", of_bytes(hostile.png_claiming(1, 2**31 - 1)), "pixels"),
    "PNG without width": ("a.png", of_bytes(hostile.png_claiming(0, 30)), "is no image"),
    "BMP of 50000x50000": ("a.bmp", of_bytes(hostile.bmp_claiming(50_000, 50_000)), "pixels"),
    "BMP of a negative size": ("a.bmp", of_bytes(hostile.bmp_claiming(-40, -30)), "is no image"),
    "JPEG of 65000x65000": ("a.jpg", of_bytes(hostile.jpeg_claiming(65_000, 65_000)), "pixels"),
    "over the size of a file": ("a.png", hostile.endless, "is over 268435456 bytes"),
    "directory": ("x.png", hostile.directory, "Is a directory"),
    "named pipe": ("x.png", hostile.named_pipe, "is no regular file"),
    "link to itself": ("x.png", hostile.link_to_itself, "cannot be read"),
    "link to nothing": ("x.png", hostile.link_to_nothing, "cannot be read"),
    "vanished": ("x.png", lambda _path: None, "cannot be read"),
}
TAKEN: dict[str, tuple[str, Make, tuple[int, int]]] = {
    "1x1": ("a.png", lambda: encoded(".png", image(1, 1)), (1, 1)),
    "1xN": ("a.png", lambda: encoded(".png", image(1, 500)), (1, 500)),
    "Nx1": ("a.jpg", lambda: encoded(".jpg", image(500, 1)), (500, 1)),
    "8K": ("a.jpg", lambda: encoded(".jpg", np.zeros((4320, 7680, 3), np.uint8)), (7680, 4320)),
    "16 bits": ("a.png", lambda: encoded(".png", SMALL.astype(np.uint16) * 257), (40, 30)),
    "16 bits of grey": (
        "a.png",
        lambda: encoded(".png", SMALL[:, :, 0].astype(np.uint16) << 8),
        (40, 30),
    ),
    "16 bits of TIFF": ("a.tif", lambda: encoded(".tif", SMALL.astype(np.uint16) << 8), (40, 30)),
    "alpha": ("a.png", lambda: encoded(".png", np.dstack([SMALL, SMALL[:, :, 0]])), (40, 30)),
    "grey": ("a.png", lambda: encoded(".png", SMALL[:, :, 0]), (40, 30)),
    "palette": ("a.png", lambda: saved("PNG", [SMALL], "P"), (40, 30)),
    "one bit": ("a.png", lambda: saved("PNG", [SMALL], "1"), (40, 30)),
    "CMYK": ("a.jpg", lambda: saved("JPEG", [SMALL], "CMYK"), (40, 30)),
    "progressive": ("a.jpg", lambda: saved("JPEG", [SMALL], progressive=True), (40, 30)),
    "turned by EXIF": ("a.jpg", hostile.turned_by_exif, (30, 40)),
    "two pages": ("a.tif", hostile.pages, (40, 30)),
    "animated": ("a.webp", hostile.animated, (40, 30)),
    "PNG by the name of a JPEG": ("a.jpg", lambda: encoded(".png"), (40, 30)),
    "bytes after the end": ("a.png", lambda: encoded(".png") + b"more" * 100, (40, 30)),
}
DAMAGED: dict[str, tuple[str, bytes]] = {
    "truncated JPEG": ("a.jpg", encoded(".jpg", image(200, 200))[:20_000]),
    "truncated PNG": ("a.png", encoded(".png", image(200, 200))[:20_000]),
    "JPEG with holes": ("a.jpg", hostile.with_holes(encoded(".jpg", image(200, 200)), 301)),
    "PNG with holes": ("a.png", hostile.with_holes(encoded(".png", image(200, 200)), 301)),
    "float TIFF": ("a.tif", encoded(".tif", SMALL.astype(np.float32) / 255)),
}


def decoded(data: bytes) -> npt.NDArray[np.uint8] | None:
    """As Ultralytics decodes a file: from memory."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, dtype=np.uint8)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image_is_refused_by_name(case: str, tmp_path: Path) -> None:
    name, write, says = REFUSED[case]
    write(tmp_path / name)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadImageError, match=rf"{name}.*{says}"):
        read_image(tmp_path / name)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert grown_kib < 600 * 1024, "it was read into memory before it was refused"


@pytest.mark.parametrize("case", TAKEN)
def test_every_form_of_image_is_what_opencv_and_ultralytics_see(case: str, tmp_path: Path) -> None:
    name, make, (width, height) = TAKEN[case]
    data = make()
    (tmp_path / name).write_bytes(data)
    seen = read_image(tmp_path / name)
    assert seen.shape == (height, width, 3)
    assert seen.dtype == np.uint8
    assert seen.flags.c_contiguous
    expected = decoded(data)
    assert expected is not None
    assert (seen == expected).all()


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_damaged_is_refused_exactly_where_opencv_refuses_it(
    case: str, tmp_path: Path
) -> None:
    name, data = DAMAGED[case]
    (tmp_path / name).write_bytes(data)
    expected = decoded(data)
    if expected is None:
        with pytest.raises(BadImageError, match=rf"{name}: is no image; replace or remove it"):
            read_image(tmp_path / name)
    else:
        assert (read_image(tmp_path / name) == expected).all()


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    hostile.unreadable(tmp_path / "x.png")
    with pytest.raises(BadImageError, match="Permission denied"):
        read_image(tmp_path / "x.png")


def test_the_limits_are_settings(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))
    assert read_image(path, ImageLimits(pixels_max=40 * 30)).shape == (30, 40, 3)
    with pytest.raises(BadImageError, match="image_pixels_max"):
        read_image(path, ImageLimits(pixels_max=40 * 30 - 1))
    with pytest.raises(BadImageError, match="is over 100 bytes"):
        read_image(path, ImageLimits(file_bytes_max=100))


def test_exif_is_followed_as_ultralytics_does(tmp_path: Path) -> None:
    patches = pytest.importorskip("ultralytics.utils.patches", reason="a device has none")
    path = tmp_path / "a.jpg"
    path.write_bytes(hostile.turned_by_exif())
    assert (read_image(path) == patches.imread(str(path))).all()


def test_a_folder_of_all_of_them_is_read_to_its_end(tmp_path: Path) -> None:
    for number, (name, write, _) in enumerate(REFUSED.values()):
        write(tmp_path / f"{2 * number:03}-{name}")
        (tmp_path / f"{2 * number + 1:03}-good.png").write_bytes(encoded(".png"))
    source, good, bad = FolderSource(tmp_path), 0, 0
    while True:
        try:
            grab = source.read()
        except BadImageError:
            bad += 1
            continue
        if grab is None:
            break
        good += 1
    assert good == len(REFUSED)
    assert bad == len(REFUSED) - 1, "all but the one that vanished"


def test_a_file_that_vanishes_or_changes_while_the_folder_is_read(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(encoded(".png"))
    source = FolderSource(tmp_path)
    assert source.read() is not None
    (tmp_path / "b.png").unlink()
    (tmp_path / "c.png").write_bytes(encoded(".png", image(64, 48)))
    with pytest.raises(BadImageError, match=r"b\.png cannot be read"):
        source.read()
    grown = source.read()
    assert grown is not None
    assert grown.image.shape == (48, 64, 3)
    assert source.read() is None


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([".png", ".jpg", ".bmp", ".tif", ".webp"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    st.integers(0, 10_000),
)
def test_any_damage_gives_a_picture_or_a_typed_error(
    tmp_path: Path, extension: str, changes: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(encoded(extension))
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path / f"a{extension}"
    path.write_bytes(data[: max(1, length % (2 * len(data)))])
    try:
        seen = read_image(path, ImageLimits(pixels_max=10_000))
    except BadImageError as error:
        assert "a." in str(error)
        return
    assert seen.dtype == np.uint8
    assert seen.ndim == 3
    assert seen.shape[0] * seen.shape[1] <= 10_000
