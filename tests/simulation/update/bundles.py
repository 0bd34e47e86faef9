"""Bundles of a simulated fleet, good ones and each way to be bad."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from protocol.bundles import MANIFEST_PATH, Manifest
from protocol.chunks import CHUNK_BYTES
from tests.fixtures.models import write_bundle


class Quality(Enum):
    """What becomes of a bundle that nothing else befalls."""

    GOOD = "good"
    REFUSED = "refused by its proof"
    UNLOADABLE = "loads in no process of the agent"
    SHADOW_FAILS = "fails in shadow, where it is compared"
    TRIAL_FAILS = "fails its probation"


@dataclass(frozen=True)
class SimulatedBundle:
    """A bundle whose model file is a few bytes that no runtime ever sees."""

    digest: str
    manifest: Manifest
    quality: Quality
    blobs: dict[str, list[bytes]]

    @property
    def manifest_bytes(self) -> int:
        return sum(map(len, self.blobs[self.digest]))


def make_bundles(folder: Path) -> list[SimulatedBundle]:
    """Four good bundles, and one of each bad quality."""
    qualities = [Quality.GOOD] * 4 + [q for q in Quality if q is not Quality.GOOD]
    made = []
    for version, quality in enumerate(qualities, start=1):
        root = folder / str(version)
        model = f"{quality.value} {version}".encode()
        digest, manifest = write_bundle(root, variant=version, version=version, model_data=model)
        whole = (root / MANIFEST_PATH).read_bytes()
        blobs = {digest: [whole[i : i + CHUNK_BYTES] for i in range(0, len(whole), CHUNK_BYTES)]}
        for entry in manifest.files:
            data = (root / entry.path).read_bytes()
            blobs[entry.blob.sha256] = [
                data[c.offset : c.offset + c.length] for c in entry.blob.chunks
            ]
        made.append(SimulatedBundle(digest, manifest, quality, blobs))
    return made
