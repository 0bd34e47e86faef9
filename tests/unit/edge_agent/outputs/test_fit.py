from __future__ import annotations

from importlib import import_module

import pytest

from edge_agent.outputs.channels import EXTRAS
from edge_agent.outputs.fit import TAKES, check_fit
from edge_agent.outputs.settings import AnyChannel
from edge_agent.section import MisplacedError
from tests.unit.edge_agent.outputs.test_settings import read
from tests.unit.edge_agent.rules.sections import rule, shelf


def coils(*rules: str) -> AnyChannel:
    return read("modbus", coils=[{"rule": r, "address": i} for i, r in enumerate(rules)])


def nodes(*sources: str) -> AnyChannel:
    return read("opcua", nodes=[{"source": s, "node": f"i={i}"} for i, s in enumerate(sources)])


@pytest.mark.parametrize(
    ("channel", "loc", "text"),
    [
        (coils("r1", "r2"), ("channels", 0, "coils", 1, "rule"), "no rule 'r2'; there are: r1"),
        (coils("s1"), ("channels", 0, "coils", 0, "rule"), "no rule 's1'; there are: r1"),
        (
            nodes("r1", "s1", "s2"),
            ("channels", 0, "nodes", 2, "source"),
            "no rule or shelf 's2'; there are: r1, s1",
        ),
    ],
)
def test_a_name_in_a_channel_that_leads_nowhere_is_refused(
    channel: AnyChannel, loc: tuple[int | str, ...], text: str
) -> None:
    with pytest.raises(MisplacedError, match=text) as refused:
        check_fit([rule(channels=("out",))], [shelf(channels=("out",))], [channel])
    assert refused.value.loc == loc


def test_a_rule_that_no_channel_tells_is_refused() -> None:
    with pytest.raises(MisplacedError, match="type csv tells nothing of 'r1'; name one") as refused:
        check_fit([rule(channels=("out",))], [], [read("csv")])
    assert refused.value.loc == ("rules", 0, "channels")
    both = [read("csv"), read("mqtt").model_copy(update={"id": "log"})]
    check_fit([rule(channels=("out", "log"))], [], both)


def test_a_shelf_that_no_channel_tells_is_refused() -> None:
    with pytest.raises(MisplacedError, match="type modbus tells nothing of 's1'") as refused:
        check_fit([rule()], [shelf(channels=("out",))], [coils("r1"), *_others()])
    assert refused.value.loc == ("shelves", 0, "channels")


def test_what_fits_is_taken() -> None:
    check_fit([rule(channels=("out",))], [], [coils("r1")])
    check_fit([rule(channels=("out",))], [shelf(channels=("out",))], [nodes("s1", "r1")])


@pytest.mark.parametrize("kind", TAKES)
def test_the_table_says_what_the_writer_takes(kind: str) -> None:
    module = "csv_feed" if kind == "csv" else kind
    package = {"modbus": "pymodbus", "opcua": "asyncua", "sparkplug": "google.protobuf"}
    if kind in package:
        pytest.importorskip(package[kind], reason=f"argosy[{EXTRAS[kind]}] is not installed")
    found = vars(import_module(f"edge_agent.outputs.{module}"))
    [name] = [n for n in found if n.endswith("Writer") and n != "Writer"]
    assert found[name].takes == TAKES[kind]


def _others() -> list[AnyChannel]:
    return [read("webhook").model_copy(update={"id": "c1"})]
