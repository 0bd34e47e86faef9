"""The makers of spoiled artifacts do what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.spoiled import DOUBLED, noise_images, scale_input, swap_channels
from tests.unit.cloud.building.graphs import SIDE, write


def answer(path: Path, image: Any) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": image})[0]


def test_spoiled_models_answer_as_to_a_spoiled_image(tmp_path: Path) -> None:
    source = write(tmp_path / "m.onnx")
    image = np.random.default_rng(0).random((1, 3, SIDE, SIDE)).astype(np.float32)
    swapped = swap_channels(source, tmp_path / "swapped.onnx")
    scaled = scale_input(source, tmp_path / "scaled.onnx")
    assert np.allclose(answer(swapped, image[:, ::-1].copy()), answer(source, image))
    assert np.allclose(answer(scaled, image), answer(source, image * DOUBLED))
    assert not np.allclose(answer(swapped, image), answer(source, image))


def test_noise_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = (noise_images(tmp_path / name, 2, 32) for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert first[0].read_bytes() != first[1].read_bytes()
