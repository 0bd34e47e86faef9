"""The two bundles of the fault table, and a device that runs the first of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.fixtures.models import write_bundle
from tests.integration.brokers import mosquitto
from tests.integration.edge_agent.device import DEVICE_ID, SLOT, Device
from tests.integration.edge_agent.fake_hub import FakeHub, wait_for
from tests.integration.edge_agent.faults_running import LIMITS, Bundles


def make_bundles(folder: Path) -> Bundles:
    """Write both bundles, and install the first on a device that is stopped then."""
    incumbent, manifest = write_bundle(folder / "incumbent", variant=1, version=1)
    candidate, _ = write_bundle(folder / "candidate", variant=2, version=2, padding_bytes=300_000)
    folders = {incumbent: folder / "incumbent", candidate: folder / "candidate"}
    with mosquitto(folder) as broker:
        hub = FakeHub(broker, DEVICE_ID)
        device = Device(folder / "device", broker, limits=LIMITS)
        hub.offer(folders[incumbent], incumbent)
        device.start()
        try:
            hub.desire(SLOT, incumbent, manifest, attempt=1)
            wait_for(lambda: "SUCCEEDED" in hub.states(1), "the first installation")
            assert device.stop() == 0
        finally:
            hub.close()
            if device.ended is None:
                device.kill()
            print(device.log())  # noqa: T201 - shown by pytest where the test failed
    (device.data / "lock").unlink()
    shutil.rmtree(folder / "device" / "images")
    return Bundles(folders, incumbent, candidate, device.data, dict(hub.stored))
