from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.detect.tensorrt.engine_file import (
    ENGINE_BYTES_MAX,
    METADATA_BYTES_MAX,
    EngineMetadata,
    join_engine,
    read_engine,
    split_engine,
)
from edge_agent.detect.tensorrt.errors import EngineFileError
from protocol.builds import Precision

names = st.dictionaries(st.integers(0, 4095), st.text(min_size=1, max_size=20), max_size=8).map(
    lambda found: found or None
)
metadata = st.builds(
    EngineMetadata,
    task=st.none() | st.just("detect"),
    imgsz=st.none() | st.tuples(st.integers(32, 8192), st.integers(32, 8192)),
    batch=st.none() | st.integers(1, 256),
    names=names,
    stride=st.none() | st.just(32),
    tensorrt_version=st.none() | st.just("10.3.0"),
    precision=st.none() | st.sampled_from(Precision),
)


@given(metadata, st.binary(min_size=1, max_size=200))
def test_what_is_joined_comes_apart_again(said: EngineMetadata, plan: bytes) -> None:
    found = split_engine(join_engine(said, plan))
    assert (found.metadata, bytes(found.plan)) == (said, plan)


@given(st.binary(min_size=1, max_size=200).filter(lambda b: b[4:5] != b"{"))
def test_a_plan_without_a_header_is_taken_whole(plan: bytes) -> None:
    found = split_engine(plan)
    assert (found.metadata, bytes(found.plan)) == (EngineMetadata(), plan)


@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda b: b[:4] + b"{" + b[4:]))
def test_hostile_bytes_are_taken_apart_or_refused(data: bytes) -> None:
    try:
        found = split_engine(data)
    except EngineFileError:
        return
    assert 0 < len(found.plan) <= len(data)
    assert data.endswith(bytes(found.plan))


def test_a_header_as_ultralytics_writes_it() -> None:
    said = {
        "description": "Ultralytics YOLO26n model",
        "task": "detect",
        "stride": 32,
        "batch": 2,
        "imgsz": [480, 640],
        "names": {"0": "scratch", "1": "dent"},
        "args": {"batch": 2, "nms": False},
        "end2end": True,
        "dla": None,
    }
    text = json.dumps(said)
    data = len(text).to_bytes(4, byteorder="little", signed=True) + text.encode() + b"the plan"
    found = split_engine(data)
    assert found.metadata.imgsz == (480, 640)
    assert found.metadata.names == {0: "scratch", 1: "dent"}
    assert (found.metadata.stride, found.metadata.batch, found.metadata.dla) == (32, 2, None)
    assert bytes(found.plan) == b"the plan"


def test_ultralytics_reads_what_is_joined(tmp_path: Path) -> None:
    backends = pytest.importorskip(
        "ultralytics.nn.backends.base", reason="ultralytics is not installed; never on a device"
    )
    path = tmp_path / "model.engine"
    said = EngineMetadata(task="detect", imgsz=(320, 640), batch=1, names={0: "Lötstelle"})
    path.write_bytes(join_engine(said, b"plan"))
    offset, header = backends.BaseBackend.engine_header(path)
    assert path.read_bytes()[offset:] == b"plan"
    assert (header["imgsz"], header["names"]) == ([320, 640], {"0": "Lötstelle"})


def header(text: bytes, plan: bytes = b"plan", length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(4, "little") + text + plan


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no plan"),
        (header(b"{}", plan=b""), "no plan"),
        (header(b"{}", length=900), "cut short"),
        (header(b"{}", length=METADATA_BYTES_MAX + 1), "over 1048576"),
        (header(b"{}", length=0xFFFFFFFF), "over 1048576"),
        (header(b"{}", length=0), "no metadata"),
        (header(b"{nonsense}"), "no metadata"),
        (header(b'{"a": ' * 3000), "no metadata"),
        (header(b'{"names": {"0": "\xff"}}'), "no metadata"),
        (header(b'{"names": "cat"}'), "names"),
        (header(b'{"names": {"x": "cat"}}'), "names"),
        (header(b'{"imgsz": [640]}'), "imgsz"),
        (header(b'{"imgsz": [640, -1]}'), "imgsz"),
        (header(b'{"batch": 0}'), "batch"),
        (header(b'{"batch": 1e99}'), "batch"),
        (header(b'{"dla": -1}'), "dla"),
        (header(b'{"precision": "fp1"}'), "precision"),
    ],
)
def test_a_bad_file_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(EngineFileError, match=words):
        split_engine(data)


def test_too_much_metadata_or_no_plan_is_not_written() -> None:
    long = EngineMetadata.model_validate({"note": "x" * METADATA_BYTES_MAX})
    with pytest.raises(EngineFileError, match="over"):
        join_engine(long, b"plan")
    with pytest.raises(EngineFileError, match="no plan"):
        join_engine(EngineMetadata(), b"")


def test_a_file_is_read_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "model.engine"
    with pytest.raises(EngineFileError, match="fetch its bundle again"):
        read_engine(path)
    path.write_bytes(join_engine(EngineMetadata(batch=3), b"plan"))
    assert read_engine(path).metadata.batch == 3
    with path.open("wb") as file:
        file.truncate(ENGINE_BYTES_MAX + 1)
    with pytest.raises(EngineFileError, match="over 2147483648"):
        read_engine(path)
