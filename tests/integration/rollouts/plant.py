"""A plant as it is run: a hub, a Mosquitto and agents, all of them processes, seen by REST."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulators.demo.agent_config import Table, write_config
from simulators.demo.processes import Supervisor
from simulators.hub import TOKEN_FILE, Hub, HubAddress
from tests.integration.brokers import mosquitto
from tests.integration.rollouts.worse import SIDE_PX

START_S, IMPORT_S, BUILD_S = 120.0, 120.0, 300.0
ROLLOUT_S = 240.0
FPS_MAX = 10
WINDOW_S = 1.0
PROBATION_S = 0.2
"""Too short for a device to have the frames that it would compare by itself."""

HUB_SETTINGS = """\
[mqtt]
url = "mqtt://127.0.0.1:{port}"

[limits]
engine_tick_s = 0.25

[datasets]
calibration_share = 0.5

[building]
compare_definitions = false
latency_frames = 3
robustness_images_max = 0
"""
LIMITS = {
    "inference_threads_max": 1,
    "reported_every_s": 1.0,
    "reported_delay_s": 0.05,
    "reconnect_first_s": 0.1,
    "resend_after_s": 2.0,
    # A device waits no longer for the frames that it would compare by itself.
    "probation_idle_s": 0.1,
}
OVER = ("FINISHED", "STOPPED", "PAUSED")


@dataclass
class Plant:
    """A running hub and its agents; `model` names what they all run."""

    folder: Path
    hub: Hub
    address: HubAddress
    processes: Supervisor
    model: str
    devices: list[str] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)

    def import_folder(self, dataset: str, folder: Path) -> None:
        body = {
            "folder": str(folder.resolve()), "model": self.model, "golden_frames_released": True,
        }  # fmt: skip
        started = self.hub.post(f"/datasets/{dataset}/import", body)["id"]
        ended = self.wait(
            f"the import of {dataset}",
            lambda: self.hub.get(f"/imports/{started}"),
            lambda found: found["state"] in ("SUCCEEDED", "FAILED"),
            IMPORT_S,
        )
        assert ended["state"] == "SUCCEEDED", ended["error"]

    def bring(self, dataset: str, weights: Path) -> dict[str, Any]:
        """The version that a checkpoint becomes, with its build as it ships: exported, with a
        calibrator by the dataset's labels, and evaluated."""
        body = {
            "model": self.model,
            "dataset": dataset,
            "weights": str(weights.resolve()),
            "parameters": {"epochs": 0, "imgsz": SIDE_PX},
        }
        job = self.hub.post("/training/jobs", body)["id"]
        ended = self.wait(
            f"the version of {weights.name}",
            lambda: self.hub.get(f"/training/jobs/{job}"),
            lambda found: found["state"] in ("SUCCEEDED", "FAILED", "CANCELED"),
            BUILD_S,
        )
        assert ended["state"] == "SUCCEEDED", ended["error"]
        number = ended["version"]["number"]
        version: dict[str, Any] = self.hub.get(f"/models/{self.model}/versions/{number}")
        self.digests[number] = version["builds"][0]["digest"]
        return version

    def start_agent(self, device: str, cameras: Mapping[str, Path], **labels: str) -> None:
        """Enrol a device and start its agent, with films as its cameras."""
        body = {"device_id": device, "labels": labels, "models": [self.model]}
        token = self.hub.post("/devices", body)["token"]
        self.hub.put(
            f"/devices/{device}/desired",
            {"harvest": {"enabled": False}, "telemetry_window_s": WINDOW_S},
        )
        more: list[Table] = [
            (
                "[[cameras]]",
                {
                    "id": camera, "source": str(film), "slot": self.model, "loop": True,
                    "fps_max": FPS_MAX,
                },
            )
            for camera, film in cameras.items()
        ]  # fmt: skip
        more.append(("[limits]", LIMITS))
        config = write_config(self.folder / device, device, token, self.address, more)
        self.processes.start(device, "edge_agent", "run", "--config", str(config))
        self.devices.append(device)

    def roll_out(self, number: int, **asked: Any) -> dict[str, Any]:
        """Roll a version out and wait until nothing more will happen by itself."""
        body = {"model": self.model, "version": number, "probation_s": PROBATION_S, **asked}
        rollout = self.hub.post("/rollouts", body)["id"]
        ended: dict[str, Any] = self.wait(
            f"the rollout of version {number}",
            lambda: self.hub.get(f"/rollouts/{rollout}"),
            lambda found: found["state"] in OVER or found["asks"] is not None,
            ROLLOUT_S,
        )
        return ended

    def running(self) -> dict[str, str | None]:
        """The version's build that each device reports to run."""
        found = {d["id"]: d["running"].get(self.model) for d in self.hub.items("/devices")}
        return {device: found[device] for device in self.devices}

    def await_running(self, number: int) -> None:
        """Return when all devices report that version."""
        wanted = dict.fromkeys(self.devices, self.digests[number])
        self.wait(f"version {number} everywhere", self.running, lambda f: f == wanted, ROLLOUT_S)

    def frames(self, number: int, since: float) -> dict[tuple[str, str], int]:
        """Frames that the hub has been told of, by device and camera, of one version."""
        seen: dict[tuple[str, str], int] = {}
        points = self.hub.get("/telemetry/summary", since=since, bucket_s=600.0)["items"]
        for point in points:
            if point["bundle_digest"] == self.digests[number]:
                key = (point["device_id"], point["camera"])
                seen[key] = seen.get(key, 0) + point["frames"]
        return seen

    def wait(
        self, what: str, ask: Callable[[], Any], until: Callable[[Any], bool], within_s: float
    ) -> Any:
        """What `ask` answers once `until` holds for it, while all processes live."""
        deadline = time.monotonic() + within_s
        while not until(found := ask()):
            self.processes.check()
            assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s: {found}"
            time.sleep(0.1)
        return found


@contextmanager
def plant(folder: Path, model: str) -> Iterator[Plant]:
    """A hub on a Mosquitto, without devices yet."""
    processes = Supervisor(folder / "logs")
    data = folder / "hub"
    data.mkdir()
    with mosquitto(folder) as broker:
        (data / "hub.toml").write_text(HUB_SETTINGS.format(port=broker.port))
        serve = ("serve", "--data", str(data), "--port", "0")
        processes.start("hub", "cloud.cli.main", *serve)
        try:
            deadline = time.monotonic() + START_S
            while (address := HubAddress.read(data)) is None:
                processes.check()
                assert time.monotonic() < deadline, f"no hub within {START_S:g} s"
                time.sleep(0.1)
            hub = Hub(address.url, (data / TOKEN_FILE).read_text().strip())
            yield Plant(folder, hub, address, processes, model)
            hub.close()
        finally:
            processes.stop_all()
