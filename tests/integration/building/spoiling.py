"""`python -m tests.integration.building.spoiling BASE.onnx OUT IMAGE…`: builds that are wrong.

Three artifacts of one fp32 file, each spoiled in one way: it takes BGR, it divides by 255 once
more, its int8 ranges come from noise. Each is what a mistaken export really leaves.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fixtures.spoiled import noise_images, scale_input, swap_channels
from tests.integration.building.making import order

CHANNELS, SCALE, NOISE = "channels", "scale", "noise"
TARGETS = {CHANNELS: "openvino-fp32", SCALE: "openvino-fp32", NOISE: "onnx-int8"}
SAID = {
    CHANNELS: "when red and blue are exchanged",
    SCALE: "when the input is not divided by 255",
    NOISE: "calibrat",
}
"""What the reasons of the rejection say, each."""


def spoil(base: Path, folder: Path) -> dict[str, list[Path]]:
    """The files of each spoiled build."""
    made: dict[str, list[Path]] = {}
    for name, change in ((CHANNELS, swap_channels), (SCALE, _divided_again)):
        source = change(base, _folder(folder / name) / "spoiled.onnx")
        made[name] = _derive(folder / name / "made", TARGETS[name], source, [])
    noise = noise_images(_folder(folder / NOISE) / "images")
    made[NOISE] = _derive(folder / NOISE / "made", TARGETS[NOISE], base, noise)
    return made


def _divided_again(source: Path, target: Path) -> Path:
    return scale_input(source, target, 1 / 255)


def _derive(folder: Path, make: str, onnx: Path, images: list[Path]) -> list[Path]:
    status, result = order(
        folder, make=make, onnx=str(onnx), calibration=[str(i) for i in images], rung=0
    )
    if status != 0:
        raise RuntimeError(f"{make}: {result}")
    return [folder / name for name in result["files"].values()]


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    for kind, files in spoil(Path(sys.argv[1]), Path(sys.argv[2])).items():
        sys.stdout.write(f"{kind} {TARGETS[kind]} {' '.join(map(str, files))}\n")
