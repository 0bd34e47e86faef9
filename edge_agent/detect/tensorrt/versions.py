"""What differs between versions of TensorRT, as data.

Read from the bindings of 10.3.0, 10.16.1, 11.0.0 and 11.4.0 and from NVIDIA's migration
notes. Until 10 a network is weakly typed unless it is created strongly typed: flags of the
builder allow a precision, which TensorRT then uses where it is faster. From 11 on every
network is strongly typed and those flags are gone: the ONNX file says the precision of each
tensor. `EXPLICIT_BATCH` is ignored in 10 and gone in 11; nothing here sets it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edge_agent.detect.tensorrt.errors import EngineBuildError
from edge_agent.errors import DetectorError
from protocol.builds import Precision

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?(?:\.post\d{1,3})?")


@dataclass(frozen=True)
class Version:
    """A version of TensorRT: major, minor, patch and, where it is known, build."""

    numbers: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Version:
        """From `10.3.0`, `10.16.1.11` or `10.14.1.48.post1`. Raises DetectorError."""
        found = _VERSION.fullmatch(text)
        if found is None:
            raise DetectorError(f"{text[:40]!r} is no version of TensorRT; install it again")
        return cls(tuple(int(number) for number in found.groups() if number is not None))

    @property
    def major(self) -> int:
        return self.numbers[0]

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers))


LATER_MAJORS: Mapping[int, tuple[int, ...]] = MappingProxyType({10: (10, 11), 11: (11,)})
"""By the major version that built a version-compatible plan: those that load it."""


def loads(plan: Version, runtime: Version, version_compatible: bool = False) -> bool:
    """Whether `runtime` loads a plan that `plan` built.

    Without version compatibility only the very same version does; a build number counts
    where both name one.
    """
    same = all(a == b for a, b in zip(plan.numbers, runtime.numbers, strict=False))
    if same or not version_compatible:
        return same
    later = runtime.numbers[:3] >= plan.numbers[:3]
    return later and runtime.major in LATER_MAJORS.get(plan.major, ())


@dataclass(frozen=True)
class Generation:
    """What the builders from `first` up to, not including, `end` know.

    Attributes:
        strongly_typed_flag: the flag that a strongly typed network is created with; None
            where every network is one.
        precision_flags: flags by the precision that they allow to a network of an fp32 file.
    """

    first: tuple[int, int]
    end: tuple[int, int]
    strongly_typed_flag: str | None
    precision_flags: Mapping[Precision, str]


GENERATIONS = (
    Generation(
        (10, 3),
        (11, 0),
        "STRONGLY_TYPED",
        MappingProxyType({Precision.FP16: "FP16", Precision.BF16: "BF16"}),
    ),
    Generation((11, 0), (12, 0), None, MappingProxyType({})),
)


@dataclass(frozen=True)
class Recipe:
    """The flags, by name, that a build sets and clears."""

    network_flags: tuple[str, ...]
    set_flags: tuple[str, ...]
    clear_flags: tuple[str, ...] = ("TF32",)
    """TF32 rounds fp32 to 10 bits and is on by default: another precision, unasked."""


def generation(version: Version) -> Generation:
    """The rules of `version`. Raises EngineBuildError where it is not supported."""
    for known in GENERATIONS:
        if known.first <= version.numbers[:2] < known.end:
            return known
    first, end = GENERATIONS[0].first, GENERATIONS[-1].end
    raise EngineBuildError(
        f"TensorRT {version} is not supported; install {first[0]}.{first[1]} "
        f"or later, below {end[0]}"
    )


def recipe(version: Version, file: Precision, wanted: Precision) -> Recipe:
    """How `version` computes an ONNX file of precision `file` in precision `wanted`.

    Raises EngineBuildError where it cannot, with what to export instead.
    """
    rules = generation(version)
    if file is wanted:
        typed = rules.strongly_typed_flag
        return Recipe(network_flags=() if typed is None else (typed,), set_flags=())
    flag = rules.precision_flags.get(wanted) if file is Precision.FP32 else None
    if flag is None:
        raise EngineBuildError(
            f"TensorRT {version} does not compute an {file.value} file in {wanted.value}; "
            f"export the ONNX file in {wanted.value}"
        )
    return Recipe(network_flags=(), set_flags=(flag,))
