"""Replay one random walk: `python -m tests.simulation.update SEED`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.simulation.update.bundles import make_bundles
from tests.simulation.update.walk import walk


def main() -> None:
    """Play the walk of the seed that was named, and print what it came to."""
    with tempfile.TemporaryDirectory(prefix="walk-") as name:
        folder = Path(name)
        bundles = make_bundles(folder / "bundles")
        (folder / "walk").mkdir()
        print(walk(int(sys.argv[1]), bundles, folder / "walk"))  # noqa: T201 - a command's output


if __name__ == "__main__":
    main()
