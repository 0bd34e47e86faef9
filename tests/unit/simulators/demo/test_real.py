"""What demo-real takes in and how it judges."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomllib

from protocol.bundles import Thresholds
from simulators.checkers.records import Labelled
from simulators.demo.agent_config import write_config
from simulators.demo.real import differences, validation_images
from simulators.demo.story import StoryFailed
from simulators.hub import HubAddress


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "images" / "val").mkdir(parents=True)
    for name in ("b.png", "a.jpg", "notes.txt", "c.JPEG"):
        (tmp_path / "images" / "val" / name).touch()
    (tmp_path / "data.yaml").write_text("path: .\nval: images/val\n")
    return tmp_path


def test_validation_images_are_found_in_order(data: Path) -> None:
    assert [p.name for p in validation_images(data, 0)] == ["a.jpg", "b.png", "c.JPEG"]
    assert [p.name for p in validation_images(data, 2)] == ["a.jpg", "b.png"]


@pytest.mark.parametrize("text", ["", "val: nowhere\n", "- a list\n", "val: [\n"])
def test_a_folder_that_is_no_data_set_is_named(data: Path, text: str) -> None:
    (data / "data.yaml").write_text(text)
    with pytest.raises(StoryFailed, match=r"data\.yaml"):
        validation_images(data, 0)


def test_an_image_that_the_agent_never_saw_is_a_difference() -> None:
    box = Labelled(0, (1, 1, 9, 9), 0.8)
    found = differences({"a": (box,)}, {"a": (box,), "b": (box,), "c": ()}, Thresholds())
    assert {name: c.equal for name, c in found.items()} == {"a": True, "b": False, "c": True}


def test_a_configuration_is_toml_that_only_we_can_read(tmp_path: Path) -> None:
    address = HubAddress("http://127.0.0.1:1", "127.0.0.1", 2, "argosy/v1")
    camera = ("[[cameras]]", {"id": "c", "source": 'a "quoted" \\ path', "slot": "m"})
    path = write_config(tmp_path / "d", "dev", "secret", address, [camera])
    assert path.stat().st_mode & 0o077 == 0
    read = tomllib.loads(path.read_text())
    assert read["device"] == {"id": "dev", "data_dir": "data"}
    assert read["cameras"][0]["source"] == 'a "quoted" \\ path'
    assert read["mqtt"]["port"] == 2 and read["hub"]["token"] == "secret"
