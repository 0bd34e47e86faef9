"""What a version looks like on a server."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud.tracking import curve
from cloud.tracking.content import Bounds, MirrorContent, MirrorFile, content, name, within
from tests.fixtures import tracked

BOUNDS = Bounds(file_bytes_max=1000, version_bytes_max=1500)
OWNER = tracked.version(2)
ONNX = tracked.build(OWNER, "a" * 64, tracked.ONNX)


def of(**changes: object) -> MirrorContent:
    values: dict[str, object] = {"builds": [ONNX], "aliases": ["production"], "artefacts": []}
    values |= changes
    return content(OWNER, prefix="hub", bounds=BOUNDS, build_files={}, **values)  # type: ignore[arg-type]


def test_a_version_names_its_origin_and_its_builds() -> None:
    made = of()
    assert made.key == made.tags["argosy.version"] == "hub/boards/2"
    assert (made.experiment, made.registered_model) == ("hub/boards", "hub.boards")
    assert made.tags["argosy.parent"] == "boards/1"
    assert made.parameters == {
        "epochs": "3",
        "lr0": "0.01",
        "lineage.seed": "7",
        "lineage.torch": "2.9",
    }
    assert made.metrics["open/map50"] == 0.4
    assert made.metrics["onnx-fp32-320x320/latency_ms_median"] == 12.5
    assert not any("curves" in key for key in made.metrics)
    assert made.at_ms == 1_700_000_000_250


def test_every_change_is_news_and_nothing_else_is() -> None:
    rejected = tracked.build(OWNER, "a" * 64, tracked.ONNX, state="REJECTED")
    digests = {of().sha256, of(builds=[rejected]).sha256, of(aliases=[]).sha256}
    digests.add(of(artefacts=[tracked.artefact(OWNER, "card.md", "b" * 64, 1)]).sha256)
    assert len(digests) == 4
    assert of(aliases=["b", "a"]).sha256 == of(aliases=["a", "b"]).sha256
    assert MirrorContent.of_json(of().as_json()) == of()


def test_builds_of_one_target_are_told_apart() -> None:
    twin = tracked.build(OWNER, "b" * 64, tracked.ONNX)
    tags = of(builds=[ONNX, twin]).tags
    assert "argosy.build.onnx-fp32-320x320-aaaaaaaaaaaa" in tags
    assert "argosy.build.onnx-fp32-320x320-bbbbbbbbbbbb" in tags


def test_aliases_that_mlflow_cannot_hold_stay_in_the_tag() -> None:
    made = of(aliases=["latest", "v7", "line 3", "candidate"])
    assert made.aliases == ("candidate",)
    assert made.tags["argosy.aliases"] == "candidate,latest,line 3,v7"


def test_a_path_that_leads_out_of_the_run_is_no_artifact() -> None:
    names = ["../card.md", "/etc/card.md", "plots//a.png", "plots/a.png"]
    made = of(artefacts=[tracked.artefact(OWNER, n, "b" * 64, 1) for n in names])
    assert [f.path for f in made.files] == [
        "plots/a.png",
        "builds/onnx-fp32-320x320/manifest.json",
    ]


@given(st.lists(st.integers(0, 2000), max_size=12))
def test_files_stay_within_the_bounds_and_the_others_are_named(sizes: list[int]) -> None:
    files = [MirrorFile(str(i), "c" * 64, size) for i, size in enumerate(sizes)]
    taken, left_out = within(files, BOUNDS)
    assert sum(f.size_bytes for f in taken) <= BOUNDS.version_bytes_max
    assert all(f.size_bytes <= BOUNDS.file_bytes_max for f in taken)
    assert {f.path for f in taken} | set(left_out) == {f.path for f in files}
    assert len(taken) + len(left_out) == len(files)


@given(st.text(max_size=400))
def test_names_are_as_mlflow_takes_them(text: str) -> None:
    made = name(text)
    assert len(made) <= 250
    assert all(c.isascii() and (c.isalnum() or c in "_-. /") for c in made)


def test_a_curve_has_a_point_for_each_epoch_and_number() -> None:
    found = {(p.metric, p.step): p.value for p in curve.points(tracked.RESULTS)}
    assert found[("train/metrics/mAP50", 2)] == 0.30
    assert found[("train/train/box_loss", 3)] == 0.75
    assert ("train/metrics/mAP50", 3) not in found


@given(st.text(max_size=300))
def test_no_text_breaks_the_curve(text: str) -> None:
    assert all(isinstance(p.step, int) for p in curve.points("epoch,a\n" + text))
