from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.detect.metadata import Metadata
from edge_agent.detect.signature import Binding
from edge_agent.detect.tensorrt.bindings import DTYPES, TensorSpec, plan_layout, signature
from edge_agent.detect.tensorrt.errors import EngineFileError
from tests.unit.edge_agent.detect.tensorrt.simulated_tensorrt import SURFACES

IMAGES = TensorSpec("images", (-1, 3, 64, 96), "FLOAT", "INPUT", batch_max=4)
ROWS = TensorSpec("output0", (-1, 300, 6), "HALF", "OUTPUT")
MASKS = TensorSpec("masks", (-1, 32, 16, 24), "BOOL", "OUTPUT")
BINDING = Binding(0, 1, np.dtype(np.float32), 96, 64, batch_max=4, batch_fixed=False)


def test_the_signature_is_as_of_any_runtime() -> None:
    said = signature("model.engine", (MASKS, IMAGES, ROWS), Metadata())
    assert [(p.name, p.shape, p.dtype) for p in said.inputs] == [
        ("images", (None, 3, 64, 96), "float32")
    ]
    assert [(p.name, p.dtype) for p in said.outputs] == [("masks", "bool"), ("output0", "float16")]
    odd = signature("model.engine", (replace(ROWS, dtype="BF16"),), Metadata())
    assert odd.outputs[0].dtype == "BF16"


def test_every_tensor_gets_memory_and_one_is_the_answer() -> None:
    layout = plan_layout((MASKS, IMAGES, ROWS), BINDING)
    assert layout.images.shape == (4, 3, 64, 96)
    assert layout.images.host_bytes == 4 * 3 * 64 * 96 * 4
    assert (layout.answer.name, layout.answer.dtype.name) == ("output0", "float16")
    assert layout.answer.host_bytes == 4 * 300 * 6 * 2
    assert layout.answer.device_bytes == 14592
    assert [b.name for b in layout.outputs] == ["masks", "output0"]
    assert layout.device_bytes == 4 * 3 * 64 * 96 * 4 + 4 * 32 * 16 * 24 + 14592


@given(
    st.integers(1, 64),
    st.lists(st.integers(1, 200), min_size=1, max_size=3),
    st.sampled_from(sorted(DTYPES)),
)
def test_device_memory_is_aligned_and_no_more(batch: int, rest: list[int], dtype: str) -> None:
    binding = replace(BINDING, output_index=0, batch_max=batch)
    images = replace(IMAGES, batch_max=None)
    answer = plan_layout((images, TensorSpec("o", (-1, *rest), dtype, "OUTPUT")), binding).answer
    assert answer.device_bytes % 256 == 0
    assert 0 <= answer.device_bytes - answer.host_bytes < 256
    assert answer.host_bytes == np.empty(answer.shape, answer.dtype).nbytes


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ((IMAGES, MASKS, replace(ROWS, dtype="BF16")), "output0 is BF16"),
        ((IMAGES, MASKS, replace(ROWS, dtype="FP8")), "output0 is FP8"),
        ((IMAGES, MASKS, replace(ROWS, shape=(-1, -1, 6))), "without suppression"),
        ((IMAGES, MASKS, replace(ROWS, shape=(-1, 0, 6))), "fixed size"),
        ((IMAGES, MASKS, replace(ROWS, shape=(2, 300, 6))), "where the batch is 4"),
        ((IMAGES, MASKS, replace(ROWS, shape=())), "where the batch is 4"),
        ((replace(IMAGES, shape=(-1, 3, -1, 96)), MASKS, ROWS), "only the batch may vary"),
        ((replace(IMAGES, batch_max=2), MASKS, ROWS), "takes 2 frames at most"),
        ((IMAGES, MASKS, replace(ROWS, shape=(-1, 2**20, 2**12))), "over 4294967296"),
    ],
)
def test_other_tensors_are_refused_by_name(tensors: tuple[TensorSpec, ...], words: str) -> None:
    with pytest.raises(EngineFileError, match=words):
        plan_layout(tensors, BINDING)


@pytest.mark.parametrize("version", SURFACES)
def test_types_are_named_as_tensorrt_names_them(version: str) -> None:
    assert set(DTYPES) <= set(SURFACES[version]["DataType"])
