"""`argosy score`: COCO mAP of predictions in JSON lines; needs no hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.cli.client import CommandError, JsonOption
from cloud.cli.output import print_json, print_table
from cloud.errors import InvalidError

FileOption = typer.Option(exists=True, dir_okay=False, readable=True)


def score(
    truth: Annotated[Path, FileOption],
    predictions: Annotated[Path, FileOption],
    as_json: JsonOption = False,
) -> None:
    """Score predictions against truth, group by group.

    Each line of both files: {"group", "image", "detections": [{"class_id", "box":
    [x1, y1, x2, y2], "confidence"}]}; truth needs no confidence.
    """
    from cloud.evaluation.groups import score_files

    try:
        groups = score_files(truth, predictions)
    except InvalidError as error:
        raise CommandError(error.message, error.remedy) from error
    if as_json:
        print_json({group: result.as_dict() for group, result in groups.items()})
        return
    rows: list[dict[str, Any]] = [{"group": g, **s.as_dict()} for g, s in groups.items()]
    columns = ("group", "map50", "map50_95", "images", "truth_boxes", "mean_confidence")
    print_table(rows, columns)
