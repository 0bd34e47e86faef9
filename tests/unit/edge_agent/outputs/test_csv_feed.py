from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.errors import OutputError
from edge_agent.outputs.csv_feed import COLUMNS, CsvWriter
from edge_agent.outputs.rotation import RotatingFile
from edge_agent.outputs.settings import CsvSection
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.writer import LineDownError
from tests.unit.edge_agent.outputs.line_peer import stock


def writer(path: Path, **changes: int) -> CsvWriter:
    return CsvWriter(
        CsvSection.model_validate({"id": "feed", "type": "csv", "path": path, **changes})
    )


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_row_for_each_item_under_one_header(tmp_path: Path) -> None:
    path = tmp_path / "feed" / "stock.csv"
    for at in (1_700_000_000.25, 1_700_000_060.0):
        feed = writer(path)
        feed.write(stock("shelf", [("cola, big", 3, "IN_STOCK"), ("tea", None, "UNKNOWN")], at=at))
        feed.close()
    found = rows(path)
    assert found[0] == list(COLUMNS)
    assert found[1] == ["2023-11-14T22:13:20.250+00:00", "shelf", "cola, big", "3", "IN_STOCK"]
    assert found[2][2:] == ["tea", "", "UNKNOWN"], "unknown is never 0"
    assert len(found) == 5
    assert datetime.fromisoformat(found[3][0]).timestamp() == 1_700_000_060


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_is_a_formula(name: str, tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    feed = writer(path)
    feed.write(stock("shelf", [(name, 1, "IN_STOCK")]))
    feed.close()
    assert rows(path)[1][2] == f"'{name}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_any_name_is_one_cell(name: str, tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    path.unlink(missing_ok=True)
    feed = writer(path)
    feed.write(stock("shelf", [(name, 1, "IN_STOCK")]))
    feed.close()
    found = rows(path)
    assert len(found) == 2
    written = name.encode("utf-8", "replace").decode()
    assert found[1][2] in {written, f"'{written}"}


def test_each_file_of_a_rotation_has_the_header_and_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    feed = writer(path, rotate_bytes=400, keep_files=2)
    for number in range(40):
        feed.write(stock("shelf", [("cola", number, "IN_STOCK")]))
    feed.close()
    names = {p.name for p in tmp_path.iterdir()}
    assert {"stock.csv.1", "stock.csv.2"} <= names <= {"stock.csv", "stock.csv.1", "stock.csv.2"}
    assert int(rows(tmp_path / "stock.csv.1")[-1][3]) >= 30, "the newest are kept"
    for name in names:
        header, *kept = rows(tmp_path / name)
        assert header == list(COLUMNS)
        assert all(len(row) == 5 for row in kept)


def test_a_disk_that_refuses_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    path.mkdir()
    feed = writer(path)
    with pytest.raises(LineDownError, match=r"stock.csv cannot be written"):
        feed.write(stock("shelf", [("cola", 1, "IN_STOCK")]))
    path.rmdir()
    feed.write(stock("shelf", [("cola", 1, "IN_STOCK")]))
    feed.close()
    assert len(rows(path)) == 2


def test_a_stock_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for body in ({}, {"items": [{"class": "cola"}]}, {"items": 7}, {"items": [3]}):
        with pytest.raises(OutputError, match="the stock of shelf cannot be read"):
            writer(tmp_path / "x.csv").write(
                Signal(SignalKind.STOCK, "shelf", "cam", 1.0, None, body)
            )


def test_no_older_file_is_kept_where_none_is_wanted(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "f", rotate_bytes=10, keep_files=0)
    for _ in range(5):
        file.append(b"0123456789\n")
    file.close()
    assert list(tmp_path.iterdir()) == []
