"""The `camera` and `dataset` commands of `argosy-sim`."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from simulators.camera import Camera, CameraSettings
from simulators.camera_server import CameraServer
from simulators.dataset import CAMERA_START, FRAME_STRIDE, write_dataset
from simulators.scenes import SCENES, Drift
from simulators.truth import TruthLog


def _known(name: str) -> str:
    if name not in SCENES:
        raise typer.BadParameter(f"there is no scene {name}: choose from {', '.join(SCENES)}")
    return name


SceneName = Annotated[
    str, typer.Argument(callback=_known, help=f"What to render: {', '.join(SCENES)}.")
]
Seed = Annotated[int, typer.Option(min=0, help="Which world of that kind.")]
Dial = Annotated[float, typer.Option(min=0.0, max=1.0, help="Drift dial, 0 to 1.")]


def camera(  # noqa: PLR0917  (typer reads the options from the parameters)
    scene: SceneName,
    seed: Seed = 0,
    name: Annotated[str, typer.Option(help="Name in the truth log; the scene's by default.")] = "",
    fps: Annotated[float, typer.Option(min=0.1, max=120.0, help="Frames per second.")] = 10.0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    start_frame: Annotated[int, typer.Option(min=0, help="First frame number.")] = CAMERA_START,
    truth: Annotated[Path | None, typer.Option(help="JSONL file for the ground truth.")] = None,
    lighting: Dial = 0.0,
    blur: Dial = 0.0,
    shift: Dial = 0.0,
    packaging: Dial = 0.0,
    new_defect: Dial = 0.0,
) -> None:
    """Serve a rendered scene as an MJPEG camera until Ctrl-C or SIGTERM.

    Prints one line of JSON with the camera's address once it can be reached.
    """
    watching = Camera(SCENES[scene](seed), CameraSettings(name or scene, fps, start_frame))
    watching.set_drift(Drift(lighting, blur, shift, packaging, new_defect))
    server = _open(watching, truth, host, port)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    server.start()
    typer.echo(json.dumps({"camera": watching.settings.name, "url": server.url}))
    done.wait()
    server.stop()


def _open(watching: Camera, truth: Path | None, host: str, port: int) -> CameraServer:
    try:
        return CameraServer(watching, TruthLog(truth), host, port)
    except OSError as error:
        typer.echo(
            f"{host}:{port} or the truth file {truth} cannot be opened ({error}); "
            "choose another port (0 takes a free one) or file",
            err=True,
        )
        raise typer.Exit(1) from error


def dataset(  # noqa: PLR0917  (as above)
    scene: SceneName,
    folder: Annotated[Path, typer.Argument(help="Folder to write, in YOLO layout.")],
    train: Annotated[int, typer.Option(min=1, help="Images to train on.")] = 400,
    val: Annotated[int, typer.Option(min=1, help="Images to validate on.")] = 80,
    seed: Seed = 0,
    stride: Annotated[int, typer.Option(min=1, help="Frames between two.")] = FRAME_STRIDE,
    lighting: Dial = 0.0,
    blur: Dial = 0.0,
    shift: Dial = 0.0,
    packaging: Dial = 0.0,
    new_defect: Dial = 0.0,
) -> None:
    """Write images, labels and data.yaml rendered from a scene."""
    drift = Drift(lighting, blur, shift, packaging, new_defect)
    try:
        listing = write_dataset(SCENES[scene](seed), folder, train, val, drift=drift, stride=stride)
    except (ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(str(listing))
