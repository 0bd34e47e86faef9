"""`argosy-sim`: cameras and data sets from rendered scenes, for trying and testing the rest."""

from __future__ import annotations

import typer

from simulators.commands import camera, dataset
from simulators.demo.commands import demo
from simulators.demo.real import demo_real
from simulators.fleet_commands import annotate, device

app = typer.Typer(
    help="Virtual cameras, devices and annotators.", no_args_is_help=True, add_completion=False
)
app.command("camera")(camera)
app.command("dataset")(dataset)
app.command("annotate")(annotate)
app.command("device")(device)
app.command("demo")(demo)
app.command("demo-real")(demo_real)

if __name__ == "__main__":
    app()
