"""Check: the libraries of the configured outputs to the line are installed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from importlib import util

from edge_agent.doctor.finding import Box, Finding, ok, problem
from edge_agent.outputs.channels import EXTRAS

MODULES = {
    "webhook": "httpx",
    "mqtt": "paho",
    "modbus": "pymodbus",
    "opcua": "asyncua",
    "sparkplug": "google.protobuf",
}


def check(box: Box) -> Iterator[Finding]:
    if box.config is not None:
        channels = [(channel.id, channel.type) for channel in box.config.channels]
        missing = {kind for _, kind in channels if kind in MODULES and not _is_there(MODULES[kind])}
        yield from judge(channels, missing)


def judge(channels: Sequence[tuple[str, str]], missing: Collection[str]) -> Iterator[Finding]:
    """`channels`: id and type of each; `missing`: types whose library is not there."""
    for name, kind in channels:
        if kind in missing:
            extra = EXTRAS[kind]
            yield problem(
                f"channel {name}: {kind} lacks its library", f"pip install 'argosy[{extra}]'"
            )
    if channels and not missing:
        yield ok(f"outputs: {', '.join(f'{name} ({kind})' for name, kind in channels)}")


def _is_there(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
