"""Whether channels, rules and shelves fit together, seen before anything is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edge_agent.outputs.settings import AnyChannel, ModbusSection, OpcUaSection
from edge_agent.outputs.signals import SignalKind
from edge_agent.rules.settings import RuleSection, ShelfSection
from edge_agent.section import MisplacedError

# What the writer of each type takes, here without its library.
TAKES: dict[str, frozenset[SignalKind]] = {
    "webhook": frozenset(SignalKind),
    "mqtt": frozenset(SignalKind),
    "csv": frozenset({SignalKind.STOCK}),
    "modbus": frozenset({SignalKind.RULE}),
    "opcua": frozenset({SignalKind.RULE, SignalKind.STOCK}),
    "sparkplug": frozenset(SignalKind),
}

_Place = tuple[int | str, ...]


def check_fit(
    rules: Sequence[RuleSection], shelves: Sequence[ShelfSection], channels: Sequence[AnyChannel]
) -> None:
    """Raise MisplacedError where a channel names a rule or shelf that there is not, or where
    no channel of a rule or shelf tells what it has to say. The names of channels are right."""
    rule_ids = [rule.id for rule in rules]
    ids = {"rule": rule_ids, "rule or shelf": [*rule_ids, *(shelf.id for shelf in shelves)]}
    for place, what, name in _named(channels):
        if name not in ids[what]:
            there = ", ".join(ids[what]) or "none"
            raise MisplacedError(place, f"there is no {what} {name!r}; there are: {there}")
    types = {channel.id: channel.type for channel in channels}
    for index, rule in enumerate(rules):
        _check_told(("rules", index, "channels"), rule, types, SignalKind.RULE)
    for index, shelf in enumerate(shelves):
        _check_told(("shelves", index, "channels"), shelf, types, SignalKind.STOCK)


def _named(channels: Sequence[AnyChannel]) -> Iterator[tuple[_Place, str, str]]:
    for index, channel in enumerate(channels):
        if isinstance(channel, ModbusSection):
            for number, coil in enumerate(channel.coils):
                yield ("channels", index, "coils", number, "rule"), "rule", coil.rule
        elif isinstance(channel, OpcUaSection):
            for number, node in enumerate(channel.nodes):
                yield ("channels", index, "nodes", number, "source"), "rule or shelf", node.source


def _check_told(
    place: _Place, section: RuleSection | ShelfSection, types: Mapping[str, str], kind: SignalKind
) -> None:
    told = {types[channel] for channel in section.channels}
    if not any(kind in TAKES[one] for one in told):
        able = ", ".join(name for name, kinds in TAKES.items() if kind in kinds)
        raise MisplacedError(
            place,
            f"a channel of type {' or '.join(sorted(told))} tells nothing of {section.id!r}; "
            f"name one of type {able}",
        )
