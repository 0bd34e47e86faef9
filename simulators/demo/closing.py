"""Last chapter: ask the hub for what it knows, stop the devices, replay, keep the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol.bundles import MANIFEST_PATH, read_manifest
from simulators.demo.story import Story
from simulators.hub import Hub


def collect(story: Story) -> str:
    """Stop the devices, wait until the hub has what they sent, and write down what it holds."""
    for watched in story.record.cameras:
        story.processes.stop(watched.device)
    story.watcher.look(now=True)
    hub, record = story.hub, story.record
    record.events = sorted(hub.items("/events", since=record.started_at), key=lambda e: e["at"])
    record.samples = [
        {key: sample.get(key) for key in ("id", "device_id", "camera", "frame_id", "reason")}
        for sample in hub.items("/samples", since=record.started_at)
    ]
    record.devices = [
        {
            "id": device["id"],
            "site": device["site"],
            "running": {
                slot: {"digest": digest, "name": story.names.get(digest, digest[:12])}
                for slot, digest in device["running"].items()
            },
        }
        for device in hub.items("/devices")
    ]
    record.counters = {
        "ingest": hub.get("/ingest/counters"),
        "stored": _stored(hub),
    }
    return f"{len(record.events)} events, {len(record.samples)} samples"


def fetch_bundle(hub: Hub, digest: str, folder: Path) -> Path:
    """A build's whole bundle from the hub's blobs, every part checked by its digest."""
    raw = hub.data(f"/blobs/{digest}")
    manifest = read_manifest(raw, digest)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST_PATH).write_bytes(raw)
    for entry in manifest.files:
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hub.data(f"/blobs/{entry.blob.sha256}"))
    return folder


def fetch_bundles(story: Story) -> dict[str, Path]:
    """The bundles of all versions that were made, by role."""
    return {
        made.role: fetch_bundle(story.hub, made.digest, story.folders.work / "bundles" / made.role)
        for made in story.record.versions
    }


def _stored(hub: Hub) -> list[dict[str, Any]]:
    """Every sequenced row that the hub holds: (device, stream, epoch, first, last)."""
    streams = {"telemetry": "/telemetry/windows", "events": "/events", "samples": "/samples"}
    rows: list[dict[str, Any]] = []
    for stream, path in streams.items():
        rows += [_row(stream, item) for item in hub.items(path)]
    return rows


def _row(stream: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "device": item["device_id"],
        "stream": stream,
        "epoch": item["epoch"],
        "first": item["sequence"],
        "last": item["sequence"],
    }
