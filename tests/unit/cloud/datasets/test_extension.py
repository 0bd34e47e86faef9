"""A version out of a version: what joins, what is replaced, what never changes."""

from __future__ import annotations

import json
import random

import pytest

from cloud.datasets import manifest as manifests
from cloud.datasets.boxes import LabelBox
from cloud.datasets.extension import join
from cloud.datasets.manifest import DatasetManifest, Item
from cloud.datasets.splits import Split, SplitRules
from protocol.chunks import sha256_hex

BOX, OTHER = LabelBox(0, 0.5, 0.5, 0.2, 0.2), LabelBox(1, 0.4, 0.4, 0.1, 0.1)
PARENT = "f" * 64


def item(seed: int, split: Split = Split.TRAIN, **changes: object) -> Item:
    rng = random.Random(seed)
    values: dict[str, object] = {
        "image": sha256_hex(str(seed).encode()),
        "size_bytes": 10,
        "width": 64,
        "height": 48,
        "suffix": ".jpg",
        "split": split,
        "boxes": (BOX,),
        "difference_hash": rng.randbytes(32).hex(),
        "source": f"import:{seed}.jpg",
    }
    return Item.model_validate({**values, **changes})


def old() -> DatasetManifest:
    splits = [Split.GOLDEN, Split.SELECTION, Split.CALIBRATION, Split.TRAIN, Split.TRAIN]
    return manifests.build(("a", "b"), [item(i, split) for i, split in enumerate(splits)])


def by_image(manifest: DatasetManifest) -> dict[str, Item]:
    return {entry.image: entry for entry in manifest.items}


def test_new_images_join_train_with_their_weight() -> None:
    fresh = item(9, boxes=(OTHER,), source="annotation:4", camera="north", weight=3)
    manifest, left_out = join(old(), PARENT, [fresh], SplitRules())
    assert by_image(manifest)[fresh.image] == fresh
    assert left_out == []
    assert manifest.parent == PARENT
    assert manifest.counts() == {"train": 3, "selection": 1, "calibration": 1, "golden": 1}


def test_an_image_of_the_parent_takes_new_labels_and_keeps_its_split() -> None:
    again = item(1, boxes=(OTHER,), source="annotation:4")
    manifest, _ = join(old(), PARENT, [again], SplitRules())
    assert by_image(manifest)[again.image].split is Split.SELECTION
    assert by_image(manifest)[again.image].boxes == (OTHER,)


def test_tags_come_with_new_images_and_known_ones_stay() -> None:
    now, then = {"site": "Ulm", "line": "2"}, {"site": "Bonn"}
    first = manifests.build(("a", "b"), [item(0, tags=then), item(1), item(2)])
    joining = [item(n, boxes=(OTHER,), tags=now) for n in (0, 1, 9)]
    manifest, _ = join(first, PARENT, joining, SplitRules())
    tags = [by_image(manifest)[item(n).image].tags for n in (0, 1, 9)]
    assert tags == [then, now, now]
    assert manifest.tag_counts() == {"line": {"2": 2}, "site": {"Bonn": 1, "Ulm": 2}}


def test_golden_never_changes() -> None:
    again = item(0, boxes=(OTHER,), source="annotation:4")
    manifest, left_out = join(old(), PARENT, [again], SplitRules())
    assert by_image(manifest)[again.image] == item(0, Split.GOLDEN)
    assert [(e.image, e.near, e.distance) for e in left_out] == [
        ("annotation:4", "import:0.jpg", 0)
    ]


def test_a_manifest_is_read_back_and_named_by_its_content() -> None:
    manifest = old()
    data = manifests.canonical(manifest)
    assert manifests.read(data) == manifest
    assert manifests.digest(manifest) == sha256_hex(data)
    shuffled = manifests.build(manifest.class_names, list(reversed(manifest.items)))
    assert manifests.digest(shuffled) == manifests.digest(manifest)
    relabelled, _ = join(manifest, PARENT, [item(3, boxes=())], SplitRules())
    assert manifests.digest(relabelled) != manifests.digest(manifest)


def test_a_manifest_without_tags_has_the_digest_that_it_had_before_there_were_any() -> None:
    assert manifests.digest(old()) == (
        "fcc1d068c6cbd5803fab86521296091a5d30829c984b09fada1e118aa2317f2e"
    )
    assert b"tags" not in manifests.canonical(old())
    tagged = manifests.build(("a", "b"), [item(0, tags={"site": "Ulm"}, camera="north")])
    assert manifests.read(manifests.canonical(tagged)) == tagged
    assert tagged.tag_counts() == {"camera": {"north": 1}, "site": {"Ulm": 1}}


@pytest.mark.parametrize(
    "tags", [{}, {"": "a"}, {"a": ""}, {"a": "x" * 65}, {str(n): "x" for n in range(17)}]
)
def test_tags_are_bounded(tags: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="tags"):
        item(0, tags=tags)


def test_an_image_twice_is_refused_when_built_and_when_read() -> None:
    twice = [item(0, Split.GOLDEN), item(0, Split.TRAIN), item(1)]
    with pytest.raises(ValueError, match="1 images are in it more than once, such as") as refused:
        manifests.build(("a", "b"), twice)
    assert item(0).image[:12] in str(refused.value)
    data = json.loads(manifests.canonical(old()))
    data["items"].append({**data["items"][0], "split": "train"})
    with pytest.raises(ValueError, match="more than once"):
        manifests.read(json.dumps(data).encode())


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"format_version": 2}', b"nonsense"])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        manifests.read(data)
