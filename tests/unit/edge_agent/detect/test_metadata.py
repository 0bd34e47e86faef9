from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.detect.metadata import (
    Metadata,
    class_names,
    from_labels,
    from_properties,
    from_yaml,
)
from edge_agent.errors import BundleError, DetectorError

NAMES = ("person", "traffic light")
# As Ultralytics 8.4.190 writes them.
PROPERTIES = {
    "description": "Ultralytics YOLO26n model ",
    "stride": "32",
    "task": "detect",
    "batch": "1",
    "imgsz": "[640, 640]",
    "names": "{0: 'person', 1: 'traffic light'}",
    "end2end": "True",
}
YAML = "stride: 32\ntask: detect\nimgsz:\n- 640\n- 640\nnames:\n  0: person\n  1: traffic light\n"


def test_both_forms_say_the_same() -> None:
    expected = Metadata("detect", NAMES, False, 32)
    assert from_properties("model.onnx", PROPERTIES) == expected
    pytest.importorskip("yaml", reason="PyYAML comes with the extra of OpenVINO")
    assert from_yaml("metadata.yaml", YAML) == expected


def test_labels_have_underscores_for_spaces() -> None:
    found = from_labels("model.xml", "person traffic_light")
    found.check("model.xml", NAMES)
    with pytest.raises(BundleError, match="class 1 'traffic_light', the manifest 'bus_stop'"):
        found.check("model.xml", ("person", "bus stop"))


def test_an_artifact_that_says_nothing_is_fine() -> None:
    from_properties("model.onnx", {}).check("model.onnx", NAMES)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for properties in ({"names": text}, {"stride": text}, {"task": text}):
        try:
            from_properties("model.onnx", properties)
        except DetectorError as error:
            assert "model.onnx" in str(error)


@given(st.lists(st.text(max_size=128), min_size=1, max_size=20))
def test_names_come_back_in_the_order_of_their_ids(names: list[str]) -> None:
    shuffled = dict(sorted(enumerate(names), key=lambda item: -item[0]))
    assert class_names("a", names) == class_names("a", shuffled) == tuple(names)


@pytest.mark.parametrize("found", [None, [], {}, "person", 3, {1: "a"}, ["x"] * 5000, ["x" * 129]])
def test_what_names_no_classes_is_refused(found: object) -> None:
    with pytest.raises(DetectorError, match="class name"):
        class_names("model.onnx", found)
