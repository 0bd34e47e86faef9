"""What an evaluation reads and writes on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from edge_agent.errors import EdgeError

LIST_BYTES_MAX = 64 * 1024 * 1024
PROGRESS_EVERY_S = 0.25


def listed(images: Path) -> list[Path]:
    """The paths that the text file `images` lists; relative ones from its own folder.

    Raises EdgeError where it cannot be read, is over LIST_BYTES_MAX, or lists none.
    """
    try:
        if images.stat().st_size > LIST_BYTES_MAX:
            raise EdgeError(f"{images} is over {LIST_BYTES_MAX} bytes; split it")
        text = images.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"no list of images at {images}: {error}") from error
    paths = [images.parent / line.strip() for line in text.splitlines() if line.strip()]
    if not paths:
        raise EdgeError(f"{images} lists no image; write one path a line")
    return paths


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file that is at `path` when the block ends well, and nowhere otherwise.

    Raises EdgeError where it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as lines:
            yield lines
        partial.replace(path)
    except OSError as error:
        raise EdgeError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


class ProgressFile:
    """Lines {"done", "total"} for whoever waits: the first, the last, and a few a second.

    Args:
        path: None writes nothing.
        monotonic: seconds of a clock that is never set.

    Raises EdgeError where it cannot be written.
    """

    def __init__(self, path: Path | None, total: int, monotonic: Callable[[], float]) -> None:
        self._path, self._total, self._monotonic = path, total, monotonic
        self._due_s, self._told = -float("inf"), -1
        self._file: TextIO | None = None

    def __enter__(self) -> ProgressFile:
        if self._path is not None:
            try:
                self._file = self._path.open("w", encoding="utf-8")
            except OSError as error:
                raise EdgeError(f"{self._path} cannot be written: {error.strerror}") from error
        self.tell(0)
        return self

    def tell(self, done: int) -> None:
        """So many images are done."""
        now_s = self._monotonic()
        if self._file is None or done == self._told:
            return
        if now_s < self._due_s and done < self._total:
            return
        self._due_s, self._told = now_s + PROGRESS_EVERY_S, done
        try:
            self._file.write(json.dumps({"done": done, "total": self._total}) + "\n")
            self._file.flush()
        except OSError as error:
            raise EdgeError(f"{self._path} cannot be written: {error.strerror}") from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
