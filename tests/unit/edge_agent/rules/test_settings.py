from __future__ import annotations

import pytest
from pydantic import ValidationError

from edge_agent.rules.settings import check_line
from tests.unit.edge_agent.rules.sections import rule, shelf

BOW_TIE = ((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"zone": BOW_TIE}, "walks around it"),
        ({"zone": BOW_TIE[:2]}, "at least 3 items"),
        ({"zone": ((0.0, 0.0), (1.5, 0.0), (1.0, 1.0))}, "less than or equal to 1"),
        ({"area_min_share": 0.5, "area_max_share": 0.4}, "nothing can match"),
        ({"classes": ()}, "at least 1 item"),
        ({"channels": ()}, "at least 1 item"),
        ({"count_min": 0}, "greater than or equal to 1"),
        ({"anchor": "top"}, "'centre' or 'bottom'"),
        ({"clases": ("a",)}, "Extra inputs are not permitted"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_the_remedy(
    keys: dict[str, object], text: str
) -> None:
    with pytest.raises(ValidationError, match=text):
        rule(**keys)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"items": {}}, "at least 1 item"),
        ({"items": {"cola": {"low": 1, "out": 2}}}, r"out \(2\) is over low \(1\)"),
        ({"items": {"cola": {}}}, "Field required"),
        ({"elsewhere": ("class 0",)}, "in items and in elsewhere"),
        ({"smooth_s": 0}, "greater than 0"),
    ],
)
def test_a_shelf_that_cannot_work_is_refused_with_the_remedy(
    keys: dict[str, object], text: str
) -> None:
    with pytest.raises(ValidationError, match=text):
        shelf(**keys)


@pytest.mark.parametrize(
    ("rules", "shelves", "text"),
    [
        ([rule(), rule()], [], "two rules or shelves are called 'r1'"),
        ([rule()], [shelf(id="r1")], "two rules or shelves are called 'r1'"),
        ([rule(cameras=("cam", "dom"))], [], "rule 'r1' names the camera 'dom'; there are: cam"),
        ([], [shelf(camera="dom")], "shelf 's1' names the camera 'dom'; there are: cam"),
        ([rule(channels=("c2",))], [], "rule 'r1' names the channel 'c2'; there are: c1"),
        ([], [shelf(channels=("c1", "c2"))], "shelf 's1' names the channel 'c2'"),
    ],
)
def test_names_that_lead_nowhere_are_refused(
    rules: list[object], shelves: list[object], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        check_line(rules, shelves, ["cam"], ["c1"])  # type: ignore[arg-type]


def test_what_fits_together_is_taken() -> None:
    check_line([rule(cameras=("cam",)), rule(id="r2")], [shelf()], ["cam"], ["c1"])
