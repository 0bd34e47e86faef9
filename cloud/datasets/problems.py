"""What is wrong with a folder: gathered, so that one import tells it all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cloud.errors import InvalidError


class FolderError(InvalidError):
    """A folder that cannot be imported; `problems` lists every one that was found."""

    def __init__(self, folder: Path, problems: list[str]) -> None:
        self.problems = problems
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__(
            f"{folder} was not imported, {len(problems)} {noun}:\n" + "\n".join(problems),
            "mend what is listed and import again; nothing was registered",
        )


@dataclass
class Problems:
    """What is wrong so far. Gathering stops at the limit: one bad habit fills a folder."""

    folder: Path
    problems_max: int
    lines: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        """Raises FolderError once there are `problems_max`."""
        self.lines.append(f"{where}: {what}")
        if len(self.lines) >= self.problems_max:
            self.lines.append(f"… stopped after {self.problems_max}; there may be more")
            self.stop_if_any()

    def stop_if_any(self) -> None:
        """Raises FolderError where there is any."""
        if self.lines:
            raise FolderError(self.folder, self.lines)

    def name(self, path: Path) -> str:
        """The path as far as the folder, for people."""
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)
