"""The channels that agent.toml names, each with its writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.clock import Clock
from edge_agent.dice import Dice
from edge_agent.errors import OutputError
from edge_agent.outputs.channel import Channel
from edge_agent.outputs.settings import AnyChannel
from edge_agent.outputs.writer import Writer
from edge_agent.store import Store


@dataclass(frozen=True)
class Site:
    """What writers need to know of the device.

    Attributes:
        silent: whether a camera that the rule watches has given no result for so many
            seconds, or none at all yet. Called by the channels' threads.
        watched: of a channel, the rules that name it, each with each of its cameras.
    """

    device_id: str
    store: Store
    clock: Clock
    silent: Callable[[str, float], bool] = lambda _rule, _after_s: False
    watched: Callable[[str], tuple[tuple[str, str], ...]] = lambda _channel: ()


def channels(sections: Sequence[AnyChannel], site: Site, rng: Dice) -> dict[str, Channel]:
    """The channels by id, not yet started.

    Raises:
        OutputError: a channel's library is not installed; the text names what installs it.
    """
    return {
        section.id: Channel(section, _writer(section, site), clock=site.clock, rng=rng)
        for section in sections
    }


def _writer(section: AnyChannel, site: Site) -> Writer:
    try:
        return WRITERS[section.type](section, site)
    except ImportError as error:
        raise OutputError(
            f"channel {section.id}: {section.type} needs the package {error.name}, which is "
            f"not installed; pip install 'argosy[{EXTRAS[section.type]}]'"
        ) from error


def _webhook(section: Any, site: Site) -> Writer:
    from edge_agent.outputs.webhook import WebhookWriter

    return WebhookWriter(section, site.device_id)


def _mqtt(section: Any, site: Site) -> Writer:
    from edge_agent.outputs.mqtt import MqttWriter

    return MqttWriter(section, site.device_id, site.clock, site.watched(section.id))


def _csv(section: Any, _site: Site) -> Writer:
    from edge_agent.outputs.csv_feed import CsvWriter

    return CsvWriter(section)


def _modbus(section: Any, site: Site) -> Writer:
    from edge_agent.outputs.modbus import ModbusWriter

    return ModbusWriter(section, site.clock, site.silent)


def _opcua(section: Any, _site: Site) -> Writer:
    from edge_agent.outputs.opcua import OpcUaWriter

    return OpcUaWriter(section)


def _sparkplug(section: Any, site: Site) -> Writer:
    from edge_agent.outputs.sparkplug import SparkplugWriter

    return SparkplugWriter(section, site.device_id, site.store, site.clock)


WRITERS: dict[str, Callable[[Any, Site], Writer]] = {
    "webhook": _webhook,
    "mqtt": _mqtt,
    "csv": _csv,
    "modbus": _modbus,
    "opcua": _opcua,
    "sparkplug": _sparkplug,
}
EXTRAS = {
    "webhook": "edge",
    "mqtt": "edge",
    "csv": "edge",
    "modbus": "edge-modbus",
    "opcua": "edge-opcua",
    "sparkplug": "edge-sparkplug",
}
