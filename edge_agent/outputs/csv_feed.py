"""The stock as rows of a CSV file, for whatever imports such files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from datetime import datetime, timezone

from edge_agent.outputs.rotation import RotatingFile
from edge_agent.outputs.settings import CsvSection
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.stock import stock_items
from edge_agent.outputs.writer import LineDownError, Writer

COLUMNS = ("time", "shelf", "class", "count", "state")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


class CsvWriter(Writer):
    """Writer `csv`: a row for each item of a stock signal, time in UTC."""

    takes = frozenset({SignalKind.STOCK})
    holds: frozenset[SignalKind] = frozenset()

    def __init__(self, section: CsvSection) -> None:
        self._path = section.path
        self._file = RotatingFile(
            section.path, section.rotate_bytes, section.keep_files, header=_rows([COLUMNS])
        )

    def open(self, _wake: Callable[[], None]) -> None:
        """The file is opened with the first row."""

    def write(self, signal: Signal) -> None:
        at = datetime.fromtimestamp(signal.at, timezone.utc).isoformat(timespec="milliseconds")
        rows = [
            (at, _text(signal.source), _text(item.name), item.count, _text(item.state))
            for item in stock_items(signal)
        ]
        try:
            self._file.append(_rows(rows))
        except OSError as error:
            raise LineDownError(
                f"{self._path} cannot be written: {error.strerror}; make room or change the path"
            ) from error

    def close(self) -> None:
        self._file.close()


def _rows(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _text(value: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(FORMULA_STARTS) else value
