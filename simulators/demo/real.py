"""`argosy-sim demo-real`: the same loop with your own images, and the agent held to its word.

A folder in YOLO layout is imported, trained on and published; an agent takes the version
and looks at the validation images, or at a video. What it saw in the images is compared
with what Ultralytics itself predicts with the same exported file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from protocol.bundles import MANIFEST_PATH, MODEL_PATH, Thresholds, read_manifest
from simulators.checkers.equality import Comparison, compare
from simulators.checkers.records import Labelled, read_boxes
from simulators.demo.agent_config import write_config
from simulators.demo.closing import fetch_bundle
from simulators.demo.commands import ENVIRONMENT, FAILED, GOAL_MISSED, renew, stop
from simulators.demo.learning import told
from simulators.demo.opening import start_hub
from simulators.demo.processes import ProcessEnded, Supervisor
from simulators.demo.screen import PlainScreen
from simulators.demo.signals import Interrupted, interruptible, undisturbed
from simulators.demo.story import StoryFailed
from simulators.hub import Hub, HubAddress, HubError

DEVICE, CAMERA = "bench", "bench-camera"
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
IMPORT_S, TRAIN_S, ROLLOUT_S, WATCH_S, PREDICT_S = 600.0, 7200.0, 300.0, 1800.0, 1800.0
POLL_S = 0.5
Progress = Callable[[], tuple[float, str]]


@dataclass
class Bench:
    """A hub with one device to come, and what is told of it."""

    work: Path
    processes: Supervisor
    screen: PlainScreen
    address: HubAddress
    hub: Hub

    def wait(
        self, what: str, done: Callable[[], bool], timeout_s: float, progress: Progress
    ) -> None:
        """Wait until `done()`. Raises StoryFailed after `timeout_s`, naming `what`."""
        self.screen.chapters([(what, what)])
        self.screen.begin(what)
        began = time.monotonic()
        while not done():
            self.processes.check()
            if time.monotonic() - began > timeout_s:
                raise StoryFailed(f"{what}: not there after {timeout_s:.0f} s")
            self.screen.progress(*progress())
            time.sleep(POLL_S)
        self.screen.end(what, time.monotonic() - began, "")


@dataclass(frozen=True)
class Training:
    """What the user may set."""

    epochs: int
    imgsz: int
    weights: str


def demo_real(
    *,
    data: Annotated[Path, typer.Option(help="Folder in YOLO layout, with data.yaml.")],
    video: Annotated[
        Path | None, typer.Option(help="Have the agent watch this video instead.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 6,
    imgsz: Annotated[int, typer.Option(min=32, help="Side of the input, pixels.")] = 320,
    weights: Annotated[str, typer.Option(help="scratch, or a .pt file to start from.")] = "scratch",
    limit: Annotated[int, typer.Option(min=0, help="Compare at most so many; 0: all.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("demo-real-report"),
    work: Annotated[Path, typer.Option(help="Folder for the run's data; made anew.")] = Path(
        ".demo/real"
    ),
) -> None:
    """Import, train, publish, watch the validation images, compare with Ultralytics."""
    training = Training(epochs, imgsz, weights if weights == "scratch" else _absolute(weights))
    with interruptible():
        try:
            report = run_real(data.absolute(), video, training, limit, work.absolute())
        except (StoryFailed, ProcessEnded, HubError) as error:
            stop(FAILED, f"It failed: {error}\nLogs: {work / 'logs'}")
        except (Interrupted, KeyboardInterrupt):
            stop(130, "Interrupted; everything that was started has been stopped.")
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.json").write_text(json.dumps(report, indent=2) + "\n")
    typer.echo(json.dumps({k: v for k, v in report.items() if k != "differences"}, indent=2))
    if report["images_different"]:
        stop(GOAL_MISSED, f"Not equal: see differences in {out / 'summary.json'}")


def run_real(
    data: Path, video: Path | None, training: Training, limit: int, work: Path
) -> dict[str, Any]:
    """The whole of it; the report. Whatever was started is stopped."""
    images = [] if video else validation_images(data, limit)
    renew(work)
    processes = Supervisor(work / "logs", ENVIRONMENT)
    try:
        address, hub = start_hub(processes, work / "hub")
        bench = Bench(work, processes, PlainScreen(), address, hub)
        name = data.name
        _import(bench, name, data)
        job = _train(bench, name, training)
        version = hub.get(f"/models/{name}/versions/{job['version']['number']}")
        digest = version["builds"][0]["digest"]
        source = video.absolute() if video else _linked(images, work / "camera")
        _start_agent(bench, name, source)
        _roll_out(bench, name, version["number"])
        seen = _watch(bench, source)
        figures = {
            "model": name,
            "version": version["number"],
            "digest": digest,
            "map50_exported": version["builds"][0]["metrics"].get("map50"),
            "training_s": round(job["training_ended_at"] - job["started_at"], 1),
            "frames_seen": len(seen),
            "detections": sum(len(line["detections"]) for line in seen),
        }
        return figures | (_compare(bench, digest, images, seen) if images else NOT_COMPARED)
    finally:
        with undisturbed():
            processes.stop_all()


NOT_COMPARED: dict[str, Any] = {"images_compared": 0, "images_different": 0, "differences": []}


def validation_images(data: Path, limit: int) -> list[Path]:
    """The validation images of a folder in YOLO layout, sorted, at most `limit` (0: all).

    Raises:
        StoryFailed: there is no data.yaml, it names no `val`, or there are no images.
    """
    listing = data / "data.yaml"
    try:
        named = yaml.safe_load(listing.read_text()).get("val")
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise StoryFailed(f"{listing} cannot be read as a data set: {error}") from error
    folder = data / str(named)
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise StoryFailed(f"{listing}: its `val` ({named}) names no folder of images under {data}")
    return found[:limit] if limit else found


def differences(
    seen: dict[str, tuple[Labelled, ...]],
    reference: dict[str, tuple[Labelled, ...]],
    thresholds: Thresholds,
) -> dict[str, Comparison]:
    """The comparison of each image of `reference` by name; an image not seen is empty."""
    return {
        name: compare(seen.get(name, ()), boxes, thresholds) for name, boxes in reference.items()
    }


def _import(bench: Bench, name: str, data: Path) -> None:
    body = {"folder": str(data), "model": name}
    job = bench.hub.post(f"/datasets/{name}/import", body)["id"]
    latest: dict[str, Any] = {}

    def done() -> bool:
        latest.update(bench.hub.get(f"/imports/{job}"))
        if latest["state"] == "FAILED":
            raise StoryFailed(f"import of {data}: {latest['error']}")
        return bool(latest["state"] == "SUCCEEDED")

    def progress() -> tuple[float, str]:
        total = max(1, latest["images_total"])
        return latest["images_done"] / total, f"{latest['images_done']} of {total} images"

    bench.wait(f"import {data.name}", done, IMPORT_S, progress)


def _train(bench: Bench, name: str, training: Training) -> dict[str, Any]:
    parameters = {"epochs": training.epochs, "imgsz": training.imgsz}
    body = {"model": name, "dataset": name, "weights": training.weights, "parameters": parameters}
    job = bench.hub.post("/training/jobs", body)["id"]
    latest: dict[str, Any] = {}

    def done() -> bool:
        latest.update(bench.hub.get(f"/training/jobs/{job}"))
        if latest["state"] in ("FAILED", "CANCELED"):
            raise StoryFailed(f"training: {latest['state']}: {latest['error']}")
        return bool(latest["state"] == "SUCCEEDED")

    bench.wait(f"train {name}", done, TRAIN_S, lambda: told(latest))
    return latest


def _start_agent(bench: Bench, name: str, source: Path) -> None:
    made = bench.hub.post("/devices", {"device_id": DEVICE, "models": [name]})
    camera = ("[[cameras]]", {"id": CAMERA, "source": str(source), "slot": name})
    folder = bench.work / "device"
    config = write_config(folder, DEVICE, made["token"], bench.address, [camera])
    bench.processes.start(DEVICE, "edge_agent", "run", "--config", str(config))


def _roll_out(bench: Bench, name: str, number: int) -> None:
    body = {"model": name, "version": number, "probation_s": 2.0}
    rollout = bench.hub.post("/rollouts", body)["id"]
    latest: dict[str, Any] = {}

    def done() -> bool:
        latest.update(bench.hub.get(f"/rollouts/{rollout}"))
        return latest["state"] in ("FINISHED", "STOPPED")

    bench.wait(
        f"roll {name} v{number} out",
        done,
        ROLLOUT_S,
        lambda: (0.0, str(latest.get("counts", ""))),
    )
    if latest["state"] != "FINISHED":
        raise StoryFailed(f"the rollout {latest['state']}: {latest['reason']}")


def _watch(bench: Bench, source: Path) -> list[dict[str, Any]]:
    """Wait until the source has been looked at to its end; what the agent wrote."""
    output = bench.work / "device" / "detections.jsonl"

    def lines() -> list[str]:
        return output.read_text().splitlines() if output.exists() else []

    def ended() -> bool:
        device = bench.hub.get(f"/devices/{DEVICE}")
        cameras = (device["reported"] or {}).get("cameras") or {}
        return bool(cameras.get(CAMERA, {}).get("state") == "ENDED")

    bench.wait(
        f"watch {source.name}", ended, WATCH_S, lambda: (0.0, f"{len(lines())} frames looked at")
    )
    bench.processes.stop(DEVICE)
    return [json.loads(line) for line in lines()]


def _compare(
    bench: Bench, digest: str, images: list[Path], seen: list[dict[str, Any]]
) -> dict[str, Any]:
    """Hold what the agent saw against Ultralytics' own prediction with the same file."""
    bundle = fetch_bundle(bench.hub, digest, bench.work / "bundle")
    listing, predicted = bench.work / "images.txt", bench.work / "reference.jsonl"
    listing.write_text("".join(f"{path.resolve()}\n" for path in images))
    arguments = (str(bundle / MODEL_PATH), str(listing), str(predicted))
    bench.processes.start("reference", "simulators.demo.reference", *arguments, ends=True)
    bench.processes.finish("reference", PREDICT_S)
    reference = {
        Path(row["image"]).name: read_boxes(row["detections"])
        for row in map(json.loads, predicted.read_text().splitlines())
    }
    thresholds = read_manifest((bundle / MANIFEST_PATH).read_bytes()).thresholds
    found = differences(
        {r["file"]: read_boxes(r["detections"]) for r in seen}, reference, thresholds
    )
    different = {name: c for name, c in found.items() if not c.equal}
    return {
        "images_compared": len(found),
        "images_different": len(different),
        "detections_matched": sum(c.matched for c in found.values()),
        "box_error_px_max": max(c.box_error_px for c in found.values()),
        "confidence_error_max": max(c.confidence_error for c in found.values()),
        "differences": [
            {"image": name, "unmatched": [asdict(d) for d in c.unmatched]}
            for name, c in different.items()
        ],
    }


def _linked(images: list[Path], folder: Path) -> Path:
    """A folder with links to just these images, for a camera to read."""
    folder.mkdir()
    for image in images:
        (folder / image.name).symlink_to(image.resolve())
    return folder


def _absolute(weights: str) -> str:
    return str(Path(weights).absolute())
