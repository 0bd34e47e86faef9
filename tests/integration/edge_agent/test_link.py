"""What must arrive does, over a link that breaks; presence tells the truth."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from protocol.messages import Command, HarvestPolicy, decode, encode
from protocol.topics import Kind, Topic
from tests.fixtures.models import write_bundle
from tests.integration.brokers import RunningBroker
from tests.integration.edge_agent.device import SLOT, Device
from tests.integration.edge_agent.fake_hub import FakeHub, wait_for
from tests.integration.edge_agent.test_update import install

pytestmark = pytest.mark.integration

EVERYTHING = HarvestPolicy(random_share=1.0, images_per_hour=36_000, images_burst=5)


def test_a_broker_that_goes_away_loses_nothing(
    broker: RunningBroker, hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    device.start()
    install(hub, tmp_path / "b", variant=1, attempt=1)
    wait_for(lambda: len(hub.of("telemetry")) >= 2, "telemetry")
    broker.stop()
    before = len(device.detections())
    wait_for(lambda: len(device.detections()) > before + 60, "frames seen without a broker")
    broker.start()
    hub.reconnect()
    known = len(hub.of("telemetry"))
    wait_for(lambda: len(hub.of("telemetry")) >= known + 2, "telemetry after the outage")
    for stream in ("telemetry", "events"):
        sequences = [m.sequence for m in hub.of(stream)]
        assert sequences == list(range(1, len(sequences) + 1))
        assert len({m.epoch for m in hub.of(stream)}) == 1


def test_what_is_not_acknowledged_comes_again_and_is_one_row(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    hub.acknowledging = False
    device.start()
    install(hub, tmp_path / "b", variant=1, attempt=1)
    wait_for(lambda: hub.received > len(hub.stored) + 5, "a second sending")
    hub.acknowledging = True
    wait_for(
        lambda: hub.reports[-1].counters["outbox_events_acked"] >= 10, "the acknowledged count"
    )
    sequences = [m.sequence for m in hub.of("events")]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_killed_agent_is_seen_offline_and_comes_back_with_a_higher_session(
    hub: FakeHub, device: Device
) -> None:
    device.start()
    wait_for(lambda: hub.presences, "presence")
    device.kill()
    wait_for(lambda: hub.presences[-1].status == "offline", "the will")
    assert hub.presences[-1].session_epoch == hub.presences[0].session_epoch
    device.start()
    wait_for(lambda: hub.presences[-1].status == "online", "presence again")
    assert hub.presences[-1].session_epoch > hub.presences[0].session_epoch
    assert hub.presences[-1].boot_id != hub.presences[0].boot_id
    assert device.stop() == 0
    wait_for(lambda: hub.presences[-1].status == "offline", "goodbye")


def _windows(device: Device) -> dict[int, float]:
    """The windows of telemetry that the device holds unacknowledged, by their numbers."""
    with closing(sqlite3.connect(device.data / "outbox" / "outbox.sqlite3")) as db:
        rows = db.execute("SELECT payload FROM entries WHERE stream = 'telemetry'").fetchall()
    held = [decode(Kind.TELEMETRY, payload) for (payload,) in rows]
    return {m.sequence: m.window_start for m in held}


def test_a_restored_folder_that_starts_twice_while_cut_off_loses_nothing_new(
    broker: RunningBroker, hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    device.start()
    install(hub, tmp_path / "b", variant=1, attempt=1)
    wait_for(lambda: hub.reports[-1].counters["outbox_telemetry_acked"] >= 1, "telemetry")
    device.kill()
    shutil.copytree(device.data, tmp_path / "copy")
    copied, known = _windows(device), len(hub.of("telemetry"))
    device.start()
    wait_for(lambda: len(hub.of("telemetry")) >= known + 8, "what the copy does not know")
    device.kill()
    broker.stop()
    shutil.rmtree(device.data)
    shutil.copytree(tmp_path / "copy", device.data)
    for _ in range(2):
        held = _windows(device)
        device.start()
        wait_for(lambda: _windows(device).keys() - held, "telemetry while cut off")  # noqa: B023
        device.kill()
    new = {start for sequence, start in _windows(device).items() if sequence not in copied}
    assert len(new) >= 2
    broker.start()
    hub.reconnect()
    epoch = hub.of("telemetry")[0].epoch
    device.start()
    wait_for(
        lambda: new <= {m.window_start for m in hub.of("telemetry") if m.epoch != epoch},
        "what was written while cut off, in an epoch of its own",
    )


def test_samples_come_as_chunks_where_http_is_closed(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    device.start()
    install(hub, tmp_path / "b", variant=1, attempt=1, harvest=EVERYTHING)
    samples = wait_for(lambda: hub.of("samples"), "samples")
    image = samples[0].image
    pieces = [hub.image_chunks[image.sha256, index] for index in range(len(image.chunks))]
    assert hashlib.sha256(b"".join(pieces)).hexdigest() == image.sha256
    assert samples[0].reason == "random"
    assert (samples[0].width, samples[0].height) == (64, 64)


def test_commands_are_answered_where_they_ask_and_expire(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    device.start()
    install(hub, tmp_path / "b", variant=1, attempt=1)

    def ask(command_id: str, name: Any, expires_in_s: float, **arguments: str) -> None:
        hub.command(
            Command(
                device_id=hub.device_id,
                command_id=command_id,
                name=name,
                arguments=arguments,
                expires_at=time.time() + expires_in_s,
            )
        )

    ask("late", "report", -5)
    ask("shot", "snapshot", 30, camera="cam")
    ask("nowhere", "snapshot", 30, camera="attic")
    wait_for(lambda: len(hub.responses) == 2, "two answers")
    answers = {response.command_id: (response, corr) for response, corr in hub.responses}
    assert answers["shot"][0].ok and answers["shot"][1] == b"shot"
    assert not answers["nowhere"][0].ok and "attic" in answers["nowhere"][0].text
    assert "late" not in answers
    wait_for(lambda: hub.of("samples"), "the snapshot")
    assert hub.of("samples")[0].reason == "snapshot"


def test_malformed_messages_are_counted_and_change_nothing(
    hub: FakeHub, device: Device, tmp_path: Path
) -> None:
    device.start()
    good = install(hub, tmp_path / "b", variant=1, attempt=1)
    topic = Topic(Kind.DESIRED, hub.device_id)
    for payload in (b"", b"{", b'{"schema_version": 9}', b"\xff" * 100):
        hub.publish(topic, payload)
    hub.publish(Topic(Kind.ACKS, hub.device_id), b'{"acks": "many"}')
    wait_for(lambda: hub.reports[-1].counters.get("link_malformed") == 5, "the count")
    assert hub.running(SLOT) == good


class _HubHttp(BaseHTTPRequestHandler):
    """The two HTTP routes that a device uses, over a dict of blobs."""

    blobs: ClassVar[dict[str, bytes]] = {}
    images: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        blob = self.blobs[self.path.rsplit("/", 1)[1]]
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert span is not None and self.headers["Authorization"] == "Bearer secret"
        body = blob[int(span[1]) : int(span[2]) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.images[self.path.rsplit("/", 1)[1]] = body
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: object) -> None: ...


@contextmanager
def hub_http() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _HubHttp)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_http_brings_what_mqtt_does_not_and_takes_the_images(
    broker: RunningBroker, hub: FakeHub, tmp_path: Path
) -> None:
    digest, manifest = write_bundle(tmp_path / "b", padding_bytes=600_000)
    hub.offer(tmp_path / "b", digest)
    hub.spoil = lambda *_: None
    _HubHttp.blobs = {sha: b"".join(pieces) for sha, pieces in hub._blobs.items()}
    with hub_http() as url:
        device = Device(tmp_path / "device", broker, hub_url=url, http_after_s=0.4)
        device.start()
        try:
            hub.desire(SLOT, digest, manifest, harvest=EVERYTHING)
            wait_for(lambda: "SUCCEEDED" in hub.states(), "success by HTTP alone")
            samples = wait_for(lambda: hub.of("samples"), "samples")
            image = _HubHttp.images[samples[0].image.sha256]
            assert hashlib.sha256(image).hexdigest() == samples[0].image.sha256
            assert not hub.image_chunks
        finally:
            device.kill()


def test_two_agents_on_one_folder_are_told_apart(device: Device, hub: FakeHub) -> None:
    device.start()
    wait_for(lambda: hub.presences, "presence")
    first = device.process
    device.start()
    second, device.process = device.process, first
    assert second is not None and second.wait(20) == 2
    assert "another agent" in device.log()
    assert encode(hub.presences[-1])
