"""The `annotate` and `device` commands of `argosy-sim`."""

from __future__ import annotations

import gc
import random
import resource
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from simulators.annotator import Mistakes, Oracle, TruthBook
from simulators.demo.signals import Interrupted, interruptible
from simulators.dials import Dials
from simulators.hub import TOKEN_FILE, Hub, HubAddress, HubError

POLL_S = 1.0
DEVICES_MAX = 10_000
FILES_BESIDE = 200
"""Open files that are no device's connection."""

HubFolder = Annotated[Path, typer.Option("--hub", help="Data folder of a running hub.")]
Share = Annotated[float, typer.Option(min=0.0, max=1.0)]


def annotate(
    truth: Annotated[list[Path], typer.Argument(help="Truth logs of the cameras.")],
    *,
    hub: HubFolder = Path("argosy-data"),
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more, until Ctrl-C.")] = False,
    missed: Share = 0.0,
    wrong_class: Share = 0.0,
    jittered: Share = 0.0,
    seed: int = 0,
) -> None:
    """Label pending images from the truth, with as many mistakes as are asked for."""
    _, client = connect(hub)
    oracle = Oracle(client, TruthBook(truth), Mistakes(missed, wrong_class, jittered, seed=seed))
    try:
        with interruptible():
            oracle.work()
            while follow:
                time.sleep(POLL_S)
                oracle.work()
    except HubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except (Interrupted, KeyboardInterrupt):
        pass
    done = oracle.done
    typer.echo(f"{done.labelled} images labelled with {done.boxes} boxes, {done.skipped} skipped")


def device(
    *,
    hub: HubFolder = Path("argosy-data"),
    model: Annotated[list[str], typer.Option(help="What the devices run; may be repeated.")],
    count: Annotated[int, typer.Option(min=1, max=DEVICES_MAX)] = 10,
    prefix: Annotated[str, typer.Option(help="Their ids are <prefix>-0001 and so on.")] = "virtual",
    offline: Annotated[float, typer.Option(min=0.0, max=0.95, help="Share of the time.")] = 0.0,
    slow: Annotated[float, typer.Option(min=0.0, help="Factor on each step's time.")] = 1.0,
    failing: Share = 0.0,
    seed: int = 0,
) -> None:
    """Run virtual devices against a hub until Ctrl-C; those that are not enrolled are."""
    from simulators.fleet import Broker, Fleet, make_devices

    allow_files(count + FILES_BESIDE)
    address, client = connect(hub)
    names = [f"{prefix}-{number:04d}" for number in range(1, count + 1)]
    enrol(client, names, model)
    dials = Dials(offline=offline, slow=slow, failing=failing)
    broker = Broker(address.mqtt_host, address.mqtt_port, address.root)
    fleet = Fleet(
        make_devices(names, model, dials, seed, int(time.time())), broker, random.Random(seed)
    )
    gc.collect()
    gc.freeze()  # so many devices are not to be searched for garbage again and again
    stopping = threading.Event()
    running = threading.Thread(target=fleet.run, args=(stopping,), name="fleet")
    running.start()
    typer.echo(f"{count} virtual devices at {address.mqtt_host}:{address.mqtt_port}; Ctrl-C ends")
    try:
        with interruptible():
            while running.is_alive():
                running.join(POLL_S)
    except (Interrupted, KeyboardInterrupt):
        pass
    finally:
        stopping.set()
        running.join()


def allow_files(files: int) -> None:
    """Let the process hold `files` open. Ends with the remedy where the system forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(files, hard)))
        except (ValueError, OSError) as error:
            typer.echo(
                f"{files} open files are needed and {hard} are allowed: run fewer devices, or "
                f"raise the limit: ulimit -n {files}",
                err=True,
            )
            raise typer.Exit(1) from error


def connect(data_dir: Path) -> tuple[HubAddress, Hub]:
    """The hub whose data lies in `data_dir`, as its administrator. Ends with the remedy."""
    address = HubAddress.read(data_dir)
    if address is None:
        typer.echo(
            f"no hub runs on {data_dir}; start one: argosy serve --data {data_dir}", err=True
        )
        raise typer.Exit(1)
    return address, Hub(address.url, (data_dir / TOKEN_FILE).read_text().strip())


def enrol(hub: Hub, names: list[str], models: list[str]) -> None:
    """Enrol those of `names` that the hub does not know."""
    known = {found["id"] for found in hub.items("/devices")}
    for name in names:
        if name not in known:
            hub.post("/devices", {"device_id": name, "models": models})
