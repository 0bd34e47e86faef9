"""A build's files from the hub into a folder: all of them, as they ship, or none."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from cloud.cli.client import CommandError, HubClient
from cloud.cli.transfer import download
from protocol.bundles import MANIFEST_PATH, read_manifest
from protocol.errors import ProtocolError

DIGEST_DIGITS_MIN = 6


def named(builds: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The build of a version that a digest's first digits, a target's name (`onnx-int8`) or a
    whole target (`onnx-int8-640x640`) names; of several for one target the newest that stands.

    Raises CommandError where there is none, or it could be of several sizes.
    """
    found = [
        build
        for build in builds
        if name in (build["target"], build["target"].rpartition("-")[0])
        or (len(name) >= DIGEST_DIGITS_MIN and build["digest"].startswith(name))
    ]
    targets = sorted({build["target"] for build in found or builds})
    if len(targets) > 1 or not found:
        raise CommandError(
            f"{name!r} names {len(targets) if found else 'no'} builds of the version",
            f"name one of {', '.join(targets)}, or a digest" if targets else "build one first",
        )
    return max(found, key=lambda build: (build["state"] == "EVALUATED", build["created_at"]))


def fetch(client: HubClient, digest: str, out: Path, *, quiet: bool) -> list[str]:
    """Write a build's files into the folder `out`; returns their paths in it.

    Raises CommandError where `out` holds something already, or as `download` does.
    """
    try:
        if out.exists() and any(out.iterdir()):
            raise CommandError(f"{out} is not empty", "name a new folder with --out")
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise CommandError(
            f"{out} cannot be written: {error.strerror}", "name another folder with --out"
        ) from error
    try:
        written = _fill(client, digest, partial, quiet=quiet)
        partial.chmod(0o755)
        partial.replace(out)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def _fill(client: HubClient, digest: str, folder: Path, *, quiet: bool) -> list[str]:
    data = client.content(f"blobs/{digest}")
    try:
        manifest = read_manifest(data, digest)
    except ProtocolError as error:
        raise CommandError(f"the manifest of {digest[:12]} cannot be read: {error}") from error
    (folder / MANIFEST_PATH).write_bytes(data)
    for entry in manifest.files:
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        download(client, f"blobs/{entry.blob.sha256}", path, quiet=quiet)
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry.blob.sha256:
                raise CommandError(
                    f"{entry.path} came with other bytes than its digest says", "fetch it again"
                )
    return [MANIFEST_PATH, *(entry.path for entry in manifest.files)]
