"""Which grade of a quantised build is taken, by what each sees on the selection split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from cloud.blobs.store import BlobStore
from cloud.building import choosing
from cloud.building.choosing import Probed
from cloud.building.making import Artifact, Base, Maker, Ranking
from cloud.building.targets import BuildTarget, parse
from cloud.building.workshop import Source, Workshop
from cloud.datasets import manifest as manifests
from cloud.evaluation.running import Runs
from cloud.settings import BuildingSettings
from tests.fixtures.shipped import agent, program

RUNGS = 4
BASE = Base(Path("model.onnx"), 18)


@dataclass
class Grades:
    """A maker whose artifacts only tell which grade they are."""

    made: list[int] = field(default_factory=list)
    measured: list[int] = field(default_factory=list)

    def derived(
        self,
        target: BuildTarget,
        base: Base,
        images: Sequence[Path],
        rung: int,
        ranking: Ranking | None = None,
    ) -> Artifact:
        assert target.name and base and images == []
        self.made.append(rung)
        if rung and ranking is None:
            self.measured.append(rung)
            ranking = [[["/model.1"], 0.5]]
        return Artifact({"model.onnx": Path(f"{rung}")}, 18, rungs=RUNGS, ranking=ranking)


def choose(
    monkeypatch: pytest.MonkeyPatch, folder: Path, wanted: Probed, found: Sequence[Probed]
) -> tuple[list[int], Path, dict[str, Any]]:
    """The grades that were made, the one that was taken, and what is told of it."""

    def probe(source: Any, target: Any, artifact: Artifact, shop: Any, name: str) -> Probed:
        return wanted if name == "float" else found[int(name)]

    monkeypatch.setattr(choosing, "_probe", probe)
    grades = Grades()
    dataset = manifests.build(("a",), [])
    source = Source("m", 1, ("a",), Path("w.pt"), "pt", dataset, "ab" * 32, (), {})
    store = BlobStore(folder / "blobs", blob_bytes_max=1000)
    shop = Workshop(
        folder, Runs(store, agent(program("{}"))), cast(Maker, grades), BuildingSettings()
    )
    artifact, told = choosing.choose_artifact(source, parse("onnx-int8", 64), BASE, shop)
    assert grades.measured == grades.made[1:2], "the first that keeps blocks ranks them for all"
    return grades.made, artifact.files["model.onnx"], told


@pytest.mark.parametrize(
    ("found", "made", "taken"),
    [
        (((0.795, 0.495),), [0], 0),
        (((0.785, 0.5), (0.795, 0.5)), [0, 1], 1),
        (((0.8, 0.48), (0.8, 0.495)), [0, 1], 1),
        (((0.6, 0.5), (0.5, 0.5), (0.7, 0.5), (0.65, 0.5)), [0, 1, 2, 3], 2),
        (((0.7, 0.5),) * 4, [0, 1, 2, 3], 0),
    ],
    ids=[
        "the smallest will do",
        "one step helps",
        "it is asked of mAP50-95 too",
        "none will do: the best",
        "of equals the first",
    ],
)
def test_as_little_as_the_tolerance_asks_for_stays_in_float(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    found: tuple[tuple[float, float], ...],
    made: list[int],
    taken: int,
) -> None:
    wanted, seen = Probed(0.8, 0.5), [Probed(*one) for one in found]
    tried, chosen, told = choose(monkeypatch, tmp_path, wanted, seen)
    assert tried == made
    assert chosen == Path(str(taken))
    rungs = [asdict(one) for one in seen[: len(made)]]
    assert told == {"float": asdict(wanted), "rungs": rungs, "taken": taken}


def test_the_base_is_taken_as_it_is(tmp_path: Path) -> None:
    dataset = manifests.build(("a",), [])
    source = Source("m", 1, ("a",), Path("w.pt"), "pt", dataset, "ab" * 32, (), {})
    shop = cast(Workshop, None)
    artifact, told = choosing.choose_artifact(source, parse("onnx-fp32", 64), BASE, shop)
    assert artifact.files == {"model.onnx": BASE.onnx}
    assert told == {}
