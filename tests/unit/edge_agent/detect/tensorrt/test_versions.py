from __future__ import annotations

import pytest

from edge_agent.detect.tensorrt.errors import EngineBuildError
from edge_agent.detect.tensorrt.versions import Recipe, Version, generation, loads, recipe
from edge_agent.errors import DetectorError
from protocol.builds import Precision
from tests.unit.edge_agent.detect.tensorrt.simulated_tensorrt import SURFACES

FP32, FP16, BF16, INT8 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("10.3.0", (10, 3, 0)),
        ("10.16.1.11", (10, 16, 1, 11)),
        ("10.14.1.48.post1", (10, 14, 1, 48)),
        ("10.7.0.post1", (10, 7, 0)),
        ("11.4.0.106", (11, 4, 0, 106)),
    ],
)
def test_versions_as_packages_write_them(text: str, numbers: tuple[int, ...]) -> None:
    assert Version.parse(text).numbers == numbers


@pytest.mark.parametrize("text", ["", "10", "10.3", "ten.3.0", "10.3.0-rc1", "1" * 50 + ".0.0"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(DetectorError, match="no version"):
        Version.parse(text)


@pytest.mark.parametrize(
    ("plan", "runtime", "compatible", "expected"),
    [
        ("10.3.0", "10.3.0", False, True),
        ("10.3.0", "10.3.0.26", False, True),
        ("10.3.0.26", "10.3.0.30", False, False),
        ("10.3.0", "10.3.1", False, False),
        ("10.3.0", "10.4.0", False, False),
        ("10.3.0", "11.0.0", False, False),
        ("10.3.0", "10.4.0", True, True),
        ("10.4.0", "10.3.0", True, False),
        ("10.16.1.11", "11.4.0.106", True, True),
        ("11.0.0.114", "11.4.0.106", True, True),
        ("11.4.0.106", "11.0.0.114", True, False),
        ("11.0.0.114", "10.16.1.11", True, False),
        ("9.0.0", "10.3.0", True, False),
        ("11.0.0", "12.0.0", True, False),
    ],
)
def test_which_runtime_loads_which_plan(
    plan: str, runtime: str, compatible: bool, expected: bool
) -> None:
    assert loads(Version.parse(plan), Version.parse(runtime), compatible) is expected


STRONG = Recipe(("STRONGLY_TYPED",), ())
PLAIN = Recipe((), ())


@pytest.mark.parametrize(
    ("version", "file", "wanted", "expected"),
    [
        ("10.3.0", FP32, FP32, STRONG),
        ("10.3.0", FP16, FP16, STRONG),
        ("10.3.0", INT8, INT8, STRONG),
        ("10.3.0", FP32, FP16, Recipe((), ("FP16",))),
        ("10.16.1.11", FP32, BF16, Recipe((), ("BF16",))),
        ("11.0.0.114", FP32, FP32, PLAIN),
        ("11.4.0.106", FP16, FP16, PLAIN),
        ("11.4.0.106", INT8, INT8, PLAIN),
    ],
)
def test_how_a_precision_is_asked_for(
    version: str, file: Precision, wanted: Precision, expected: Recipe
) -> None:
    assert recipe(Version.parse(version), file, wanted) == expected


@pytest.mark.parametrize(
    ("version", "file", "wanted", "words"),
    [
        ("11.0.0.114", FP32, FP16, "export the ONNX file in fp16"),
        ("11.4.0.106", FP32, INT8, "export the ONNX file in int8"),
        ("10.3.0", FP32, INT8, "export the ONNX file in int8"),
        ("10.3.0", FP16, FP32, "export the ONNX file in fp32"),
        ("10.3.0", INT8, FP16, "export the ONNX file in fp16"),
        ("10.2.0", FP32, FP32, "install 10.3 or later, below 12"),
        ("8.6.1", FP32, FP32, "not supported"),
        ("12.0.0", FP32, FP32, "not supported"),
    ],
)
def test_what_a_version_cannot_do_is_refused(
    version: str, file: Precision, wanted: Precision, words: str
) -> None:
    with pytest.raises(EngineBuildError, match=words):
        recipe(Version.parse(version), file, wanted)


def test_tf32_is_never_left_on() -> None:
    assert PLAIN.clear_flags == ("TF32",)


@pytest.mark.parametrize("version", SURFACES)
def test_every_flag_exists_where_it_is_used_and_none_that_is_ignored_is(version: str) -> None:
    rules, surface = generation(Version.parse(version)), SURFACES[version]
    assert set(rules.precision_flags.values()) <= set(surface["BuilderFlag"])
    assert set(PLAIN.clear_flags) <= set(surface["BuilderFlag"])
    # Where networks are weakly typed there are flags for precisions, and the other way round.
    assert bool(rules.precision_flags) == ("FP16" in surface["BuilderFlag"])
    assert (rules.strongly_typed_flag is None) == ("FP16" not in surface["BuilderFlag"])
    assert rules.strongly_typed_flag in (*surface["NetworkDefinitionCreationFlag"], None)
