"""The agent's figures in Prometheus' text format, read when they are asked for.

What is unknown has no sample: a 0 is always a true 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edge_agent.local.figures import BOUNDS_S, Spread
from edge_agent.local.view import View
from protocol.states import CameraState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HEALTH_GAUGES = {
    "cpu_percent": "Load of all cores, 0..100.",
    "rss_bytes": "Resident memory of the agent.",
    "memory_available_bytes": "Memory of the machine that is available.",
    "disk_free_bytes": "Room on the data folder's disk.",
    "temperature_c": "Hottest sensor of the machine.",
    "gpu_percent": "Load of the GPU, 0..100.",
    "gpu_memory_used_bytes": "Memory of the GPU in use.",
    "gpu_temperature_c": "Temperature of the GPU.",
}


class ViewCollector(Collector):
    """Turns a view into metrics at each scrape."""

    def __init__(self, view: View) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        view = self._view
        info = GaugeMetricFamily(
            "argosy_agent_info", "The agent that speaks.", labels=["device", "version"]
        )
        info.add_metric([view.device, view.version], 1)
        yield info
        yield GaugeMetricFamily(
            "argosy_link_up", "Whether the broker is connected.", view.link_up()
        )
        yield from self._cameras()
        yield from self._durations()
        yield from self._slots()
        yield from self._counters()
        health = view.health().model_dump()
        for name, text in HEALTH_GAUGES.items():
            if health.get(name) is not None:
                yield GaugeMetricFamily(f"argosy_{name}", text, health[name])

    def _cameras(self) -> Iterator[Metric]:
        captured = _counter("frames_captured", "Frames that were captured.", "camera")
        inferred = _counter("frames_inferred", "Frames that a model answered.", "camera")
        dropped = _counter("frames_dropped", "Captured and not inferred.", "camera", "cause")
        unreadable = _counter("images_unreadable", "Images that were none.", "camera")
        served = _counter("detections_served", "Detections above the threshold.", "camera")
        flight = _gauge("frames_in_flight", "Captured and not accounted for yet.", "camera")
        rate = _gauge("frames_per_second", "Results over the last seconds.", "camera")
        state = _gauge("camera_state", "1 for the state that the camera is in.", "camera", "state")
        for name, camera in self._view.cameras().items():
            account, figures = self._view.account(name), self._view.figures(name)
            captured.add_metric([name], account.captured)
            inferred.add_metric([name], account.inferred)
            unreadable.add_metric([name], account.unreadable)
            served.add_metric([name], figures.served)
            flight.add_metric([name], account.in_flight)
            for cause, frames in account.dropped.items():
                dropped.add_metric([name, cause], frames)
            for one in CameraState:
                state.add_metric([name, one.value], camera.state is one)
            if figures.results_per_s is not None:
                rate.add_metric([name], figures.results_per_s)
        yield from (captured, inferred, dropped, unreadable, served, flight, rate, state)

    def _durations(self) -> Iterator[Metric]:
        latency = _histogram("inference_seconds", "Time in the runtime and the head.")
        age = _histogram("frame_age_seconds", "From a frame's capture to its result.")
        for name in self._view.cameras():
            figures = self._view.figures(name)
            _add(latency, name, figures.latency)
            _add(age, name, figures.age)
        yield from (latency, age)

    def _slots(self) -> Iterator[Metric]:
        info = _gauge("slot_info", "The bundle that serves.", "slot", "digest", "model", "version")
        serves = _gauge("slot_serves", "Whether the slot has a model.", "slot")
        stuck = _gauge("slot_stuck", "Whether its inference has stopped moving.", "slot")
        stuck_slots = self._view.stuck()
        for name, bundle in self._view.slots().items():
            serves.add_metric([name], bundle is not None)
            stuck.add_metric([name], name in stuck_slots)
            if bundle is not None:
                manifest = bundle.manifest
                labels = [name, bundle.digest, manifest.model, str(manifest.version)]
                info.add_metric(labels, 1)
        yield from (info, serves, stuck)

    def _counters(self) -> Iterator[Metric]:
        events = _counter("events", "Counters of link, outbox, updates and sinks.", "name")
        outbox = _gauge("outbox_bytes", "What waits for the hub on the disk.", "kind")
        waiting = _gauge("outbox_waiting", "Records that the hub has not acknowledged.", "stream")
        counters = self._view.counters()
        for name, count in counters.items():
            if name.startswith("outbox_") and name.endswith("_bytes"):
                outbox.add_metric([name.removeprefix("outbox_").removesuffix("_bytes")], count)
            elif not name.startswith(("frames_", "images_unreadable")):
                events.add_metric([name], count)
            if name.startswith("outbox_") and name.endswith("_written"):
                stream = name.removeprefix("outbox_").removesuffix("_written")
                acked = counters.get(f"outbox_{stream}_acked", 0)
                waiting.add_metric([stream], max(0, count - acked))
        channels = _counter("channel_events", "Counters of outputs.", "channel", "name")
        up = _gauge("channel_up", "Whether an output's other end is reached.", "channel")
        problems = self._view.problems()
        for channel, found in self._view.channels().items():
            up.add_metric([channel], channel not in problems)
            for name, count in found.items():
                channels.add_metric([channel, name], count)
        lost = _gauge("lost_classes", "Classes that a rule names and no model has.", "rule")
        for rule, classes in self._view.lost_classes().items():
            lost.add_metric([rule], len(classes))
        yield from (events, outbox, waiting, channels, up, lost)


def exposition(view: View) -> bytes:
    """All metrics as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ViewCollector(view))
    return generate_latest(registry)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"argosy_{name}", text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"argosy_{name}", text, labels=labels)


def _histogram(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"argosy_{name}", text, labels=["camera"])


def _add(family: HistogramMetricFamily, camera: str, spread: Spread) -> None:
    bounds = [*(str(bound) for bound in BOUNDS_S), "+Inf"]
    cumulated = list(zip(bounds, accumulate(spread.counts), strict=True))
    family.add_metric([camera], cumulated, sum_value=spread.sum_s)
