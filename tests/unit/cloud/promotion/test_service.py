"""From the question to the record, and what it takes to move an alias."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cloud.access.principal import Role, service_principal
from cloud.datasets import manifest as manifests
from cloud.datasets import service as datasets
from cloud.datasets.manifest import Item
from cloud.datasets.splits import Split
from cloud.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from cloud.promotion import evidence as records
from cloud.promotion import service
from cloud.promotion.handler import gate_handler
from cloud.promotion.models import Evidence
from cloud.registry import service as registry
from tests.unit.cloud.promotion.conftest import (
    APPROVER,
    CLASSES,
    GOLDEN_IMAGES,
    MODEL,
    OPERATOR,
    Shop,
    item,
    picture,
    register,
)

POLICY = {"class_boxes_min": 20, "bootstrap_rounds": 400, "map50_margin": 0.1}


def ask(shop: Shop, candidate: int, **asked: Any) -> dict[str, Any]:
    """Queue a gate and run its job at once."""
    with shop.database.transaction() as session:
        row = registry.get_model(session, OPERATOR, MODEL)
        row.policy = {**POLICY, **row.policy}
        session.add(row)
        job = service.request_gate(session, OPERATOR, MODEL, candidate, **asked)
        session.flush()
        job.state = "SUCCEEDED"  # it runs here, not in a runner
        session.add(job)
    return dict(gate_handler(lambda _: shop.answering)(shop.context(job)))


def promote(shop: Shop, number: int, *, by: Any = APPROVER, **asked: Any) -> Any:
    with shop.database.transaction() as session:
        return service.promote(session, by, MODEL, number, **asked)


def evidence(shop: Shop, evidence_id: str) -> Evidence:
    with shop.database.reading() as session:
        return service.get_evidence(session, OPERATOR, evidence_id)


def test_the_first_version_is_held_against_bars_and_promoted(shop: Shop) -> None:
    result = ask(shop, 1)
    assert (result["verdict"], result["incumbent"]) == ("PASS", None)
    done = promote(shop, 1)
    assert (done.number, done.evidence, done.verdict) == (1, result["evidence"], "PASS")
    assert not done.forced


def test_an_equal_version_passes_and_its_record_and_page_are_kept(shop: Shop) -> None:
    ask(shop, 1)
    promote(shop, 1)
    result = ask(shop, 2)
    assert (result["verdict"], result["incumbent"]) == ("PASS", 1), result["reason"]
    row = evidence(shop, result["evidence"])
    data = shop.store.read(row.record_sha256)
    record = json.loads(data)
    assert records.canonical(record) == data
    assert (record["schema_version"], record["candidate"], record["incumbent"]) == (1, 2, 1)
    assert record["policy"]["class_boxes_min"] == 20
    assert "licence" not in record["policy"]
    page = shop.store.read(row.page_sha256).decode()
    assert "may take over" in page
    assert "<b>dent</b>" not in page and "&lt;b&gt;dent&lt;/b&gt;" in page
    assert not re.search(r"<script|https?://|src=\"(?!data:)", page)


def test_a_version_that_misses_a_class_fails_and_cannot_take_over(shop: Shop) -> None:
    ask(shop, 1)
    promote(shop, 1)
    shop.answering.misses[2] = 20
    result = ask(shop, 2)
    assert result["verdict"] == "FAIL"
    assert "scratch" in result["reason"]
    with pytest.raises(ConflictError, match="FAIL"):
        promote(shop, 2)
    page = shop.store.read(evidence(shop, result["evidence"]).page_sha256).decode()
    assert page.count("<figure>") == 12
    with pytest.raises(InvalidError, match="reason"):
        promote(shop, 2, force=True)
    done = promote(shop, 2, force=True, reason="the line stands still")
    assert (done.forced, done.verdict, done.reason) == (True, "FAIL", "the line stands still")


def test_one_new_miss_of_a_critical_class_fails(shop: Shop) -> None:
    with shop.database.transaction() as session:
        row = registry.get_model(session, OPERATOR, MODEL)
        row.policy = {"critical_classes": [CLASSES[0]]}
        session.add(row)
    ask(shop, 1)
    promote(shop, 1)
    shop.answering.misses[2] = 1
    result = ask(shop, 2)
    assert result["verdict"] == "FAIL"
    assert "critical misses" in result["reason"]


def test_evidence_grows_stale_when_the_incumbent_changes(shop: Shop) -> None:
    first, second = ask(shop, 1), ask(shop, 2)
    assert promote(shop, 2).evidence == second["evidence"]
    with pytest.raises(ConflictError, match="stale"):
        promote(shop, 1, evidence=first["evidence"])
    with pytest.raises(ConflictError, match="not compared"):
        promote(shop, 1)
    with pytest.raises(ConflictError, match="is about"):
        promote(shop, 1, evidence=second["evidence"])


def test_who_may_move_what(shop: Shop) -> None:
    ask(shop, 1)
    with pytest.raises(ForbiddenError):
        promote(shop, 1, by=OPERATOR)
    assert promote(shop, 1, by=OPERATOR, alias="trial").number == 1
    with pytest.raises(ForbiddenError):
        promote(shop, 1, by=service_principal("v", Role.ANNOTATOR), alias="trial")
    with pytest.raises(NotFoundError):
        promote(shop, 9)
    assert promote(shop, 1).number == 1
    assert promote(shop, 1) is None


def test_what_cannot_be_compared_is_refused_before_it_is_queued(shop: Shop) -> None:
    with shop.database.transaction() as session:
        with pytest.raises(NotFoundError, match="openvino"):
            service.request_gate(session, OPERATOR, MODEL, 1, target="openvino-int8")
        with pytest.raises(ConflictError, match="points at"):
            service.request_gate(session, OPERATOR, MODEL, 1, against=1)
        service.request_gate(session, OPERATOR, MODEL, 1)
        with pytest.raises(ConflictError, match="queued already"):
            service.request_gate(session, OPERATOR, MODEL, 1)
    with shop.database.transaction() as session:
        row = registry.get_model(session, OPERATOR, MODEL)
        row.policy = {"map50_margn": 0.5}
        session.add(row)
        with pytest.raises(InvalidError, match="map50_margn"):
            service.request_gate(session, OPERATOR, MODEL, 2)
        row.policy = {"critical_classes": ["crack"]}
        with pytest.raises(InvalidError, match="crack"):
            service.request_gate(session, OPERATOR, MODEL, 2)
        row.policy = {"licence": "Enterprise"}
        service.request_gate(session, OPERATOR, MODEL, 2)
        row.policy = {}


@pytest.mark.parametrize(
    ("shape", "target", "option"),
    [
        ({"width": 640, "height": 640}, None, " --target onnx-fp32@640`"),
        ({"width": 640, "height": 384}, "onnx-fp32", " --target onnx-fp32@640x384`"),
        ({"batch": 4}, None, " --target onnx-fp32@64x4`"),
        ({"width": 640, "height": 640}, "openvino-int8", " 2`"),
    ],
)
def test_another_input_size_is_told_which_build_is_lacking(
    shop: Shop, shape: dict[str, int], target: str | None, option: str
) -> None:
    with shop.database.transaction() as session:
        dataset = datasets.get_version(session, OPERATOR, "caps", 1)
        register(session, shop.store, 3, dataset, **shape)
        with pytest.raises(NotFoundError) as caught:
            service.request_gate(session, OPERATOR, MODEL, 2, against=3, target=target)
    assert f"`argosy build start {MODEL} 2" in caught.value.remedy
    assert option in caught.value.remedy


def join(shop: Shop, number: int, items: list[Item]) -> None:
    """A further version, trained on a dataset of its own."""
    manifest = manifests.build(CLASSES, items)
    shop.store.put([manifests.canonical(manifest)])
    with shop.database.transaction() as session:
        dataset = datasets.register_version(session, OPERATOR, "others", manifest, [])
        register(session, shop.store, number, dataset)
    shop.answering.items = manifest.of(Split.GOLDEN)


def test_nobody_is_judged_by_what_the_incumbent_learned_from(shop: Shop) -> None:
    ask(shop, 1)
    promote(shop, 1)
    join(shop, 3, [item(picture(100), Split.GOLDEN), item(picture(300), Split.TRAIN)])
    with pytest.raises(InvalidError, match="1 golden images were learned from"):
        ask(shop, 3)


def test_what_looks_nearly_like_a_learned_image_does_not_judge(shop: Shop) -> None:
    ask(shop, 1)
    promote(shop, 1)
    learned = bytearray.fromhex(item(picture(100), Split.TRAIN).difference_hash)
    learned[0] ^= 1
    near = item(picture(200), Split.GOLDEN).model_copy(update={"difference_hash": learned.hex()})
    golden = [item(picture(n), Split.GOLDEN) for n in range(GOLDEN_IMAGES)]
    shop.store.put([picture(200)])
    join(shop, 3, [near, *golden, item(picture(300), Split.TRAIN)])
    row = evidence(shop, ask(shop, 3)["evidence"])
    record = json.loads(shop.store.read(row.record_sha256))
    assert near.image not in record["golden_images"]
    assert len(record["golden_images"]) == GOLDEN_IMAGES
    assert [entry["distance"] for entry in record["left_out"]] == [1]
