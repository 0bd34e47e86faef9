"""Chapter one: the hub with its broker, data sets, cameras and devices come up."""

from __future__ import annotations

import json
import time
from pathlib import Path

from simulators.demo.agent_config import Table, write_config
from simulators.demo.plan import PLACES, Place
from simulators.demo.processes import Supervisor
from simulators.demo.record import Watched
from simulators.demo.story import Story, StoryFailed
from simulators.hub import TOKEN_FILE, Hub, HubAddress
from simulators.scenes import SCENES

HUB_START_S = 90.0
PROCESS_START_S = 60.0
RENDER_S = 180.0


HUB_SETTINGS = """\
[building]
compare_definitions = false
latency_frames = 10
"""
"""What nobody looks at in a demo is not waited for."""


def start_hub(processes: Supervisor, data_dir: Path) -> tuple[HubAddress, Hub]:
    """Start a hub with its own broker and wait until it answers.

    Raises:
        StoryFailed: it did not come up in HUB_START_S.
        ProcessEnded: it ended.
    """
    data_dir.mkdir(parents=True)
    (data_dir / "hub.toml").write_text(HUB_SETTINGS)
    processes.start("hub", "cloud.cli.main", "serve", "--data", str(data_dir), "--port", "0")
    deadline = time.monotonic() + HUB_START_S
    while (address := HubAddress.read(data_dir)) is None:
        processes.check()
        if time.monotonic() > deadline:
            raise StoryFailed(f"the hub was not ready after {HUB_START_S:.0f} s")
        time.sleep(0.1)
    return address, Hub(address.url, (data_dir / TOKEN_FILE).read_text().strip())


def render_datasets(story: Story) -> str:
    """Render each scene's first images, from frames that no camera ever serves."""
    for scene, images in story.plan.images.items():
        story.processes.start(
            f"dataset-{scene}",
            "simulators",
            *("dataset", scene, str(story.folders.dataset(scene)), "--seed", str(story.plan.seed)),
            *("--train", str(images.train), "--val", str(images.val)),
            ends=True,
        )
    total = sum(i.train + i.val for i in story.plan.images.values())
    names = [f"dataset-{scene}" for scene in story.plan.images]

    def written() -> int:
        return sum(1 for _ in (story.folders.work / "datasets").glob("*/labels/*/*.txt"))

    story.wait(
        "the rendered images",
        lambda: all(story.processes.ended(name) for name in names),
        RENDER_S,
        lambda: (written() / total, f"{written()} of {total} images"),
    )
    for name in names:
        story.processes.finish(name, 1.0)
    return f"{total} images of {len(names)} scenes"


def import_datasets(story: Story) -> str:
    """Have the hub import the data sets and make a model of each."""
    imports = []
    for scene in story.plan.images:
        body = {
            "folder": str(story.folders.dataset(scene).resolve()),
            "model": scene,
            "golden_frames_released": True,
        }
        imports.append(story.hub.post(f"/datasets/{scene}/import", body)["id"])
    story.wait(
        "the imported data sets",
        lambda: all(_imported(story, import_id) for import_id in imports),
        PROCESS_START_S,
    )
    return ", ".join(story.plan.images)


def open_shop(story: Story) -> str:
    """Open the cameras, enrol the devices and start their agents."""
    for place in PLACES:
        _start_camera(story, place)
    for site in dict.fromkeys(place.site for place in PLACES):
        story.hub.post("/sites", {"name": site})
    for place in PLACES:
        _start_device(story, place)
    story.wait(
        "all devices online",
        lambda: all(d["presence"] == "online" for d in story.hub.items("/devices")),
        PROCESS_START_S,
    )
    return f"{len(PLACES)} devices online at {story.address.url}"


def _imported(story: Story, import_id: str) -> bool:
    found = story.hub.get(f"/imports/{import_id}")
    if found["state"] == "FAILED":
        raise StoryFailed(f"import of {found['folder']}: {found['error']}")
    return bool(found["state"] == "SUCCEEDED")


def _start_camera(story: Story, place: Place) -> None:
    name = f"camera-{place.camera}"
    process = story.processes.start(
        name,
        "simulators",
        *("camera", place.scene, "--seed", str(place.seed), "--name", place.camera),
        *("--fps", str(story.plan.fps), "--truth", str(story.folders.truth(place.camera))),
    )
    story.wait(f"{name} to listen", lambda: "url" in process.tail(), PROCESS_START_S)
    first = next(line for line in process.log.read_text().splitlines() if "url" in line)
    story.camera_urls[place.camera] = json.loads(first)["url"]


def _start_device(story: Story, place: Place) -> None:
    made = story.hub.post(
        "/devices",
        {
            "device_id": place.device,
            "site": place.site,
            "labels": {"line": place.device},
            "models": [place.scene],
        },
    )
    folder = story.folders.device(place.device)
    camera = {
        "id": place.camera,
        "source": f"{story.camera_urls[place.camera]}/stream",
        "slot": place.scene,
    }
    limits = {"inference_threads_max": 1, "reported_every_s": 5.0}
    more: list[Table] = [("[[cameras]]", camera), ("[limits]", limits)]
    config = write_config(folder, place.device, made["token"], story.address, more)
    story.hub.put(
        f"/devices/{place.device}/desired",
        {"harvest": {"enabled": False}, "telemetry_window_s": story.plan.telemetry_window_s},
    )
    story.processes.start(place.device, "edge_agent", "run", "--config", str(config))
    story.watcher.cameras[place.camera] = place.device
    story.record.cameras.append(
        Watched(
            camera=place.camera,
            device=place.device,
            model=place.scene,
            scene=place.scene,
            seed=place.seed,
            truth=str(story.folders.truth(place.camera)),
            output=str(story.folders.output(place.device)),
            data_dir=str(folder / "data"),
            class_names=list(SCENES[place.scene](place.seed).class_names),
        )
    )
