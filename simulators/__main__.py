"""`argosy-sim`: cameras and data sets from rendered scenes, for trying and testing the rest."""

from __future__ import annotations

import typer

from simulators.commands import camera, dataset

app = typer.Typer(
    help="Virtual cameras, devices and annotators.", no_args_is_help=True, add_completion=False
)
app.command("camera")(camera)
app.command("dataset")(dataset)

if __name__ == "__main__":
    app()
