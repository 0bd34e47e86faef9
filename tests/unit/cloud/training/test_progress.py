"""What a child says: whole lines only, and nothing else is believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud.building.export import detections
from cloud.cli.train import figures
from cloud.training.parameters import TrainingParameters
from cloud.training.progress import Tail, append


def test_lines_are_taken_once_and_when_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    tail = Tail(path)
    assert tail.lines() == []
    append(path, {"stage": "training", "epoch": 1, "epochs": 3, "losses": {"box": 1.5}})
    with path.open("a") as file:
        file.write('{"stage": "train')
    (line,) = tail.lines()
    assert (line.epoch, line.losses, line.map50) == (1, {"box": 1.5}, None)
    assert tail.lines() == []
    with path.open("a") as file:
        file.write('ing", "epoch": 2}\n')
    assert [entry.epoch for entry in tail.lines()] == [2]


def test_lines_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes(b'nonsense\n{"stage": "dreaming"}\n\xff\xfe\n\n{"stage": "exported"}\n')
    assert [line.stage for line in Tail(path).lines()] == ["exported"]


@given(st.lists(st.integers(0, 400), max_size=6))
def test_however_it_is_cut_the_same_lines_come(cuts: list[int]) -> None:
    import tempfile

    data = b"".join(b'{"stage": "training", "epoch": %d}\n' % n for n in range(10))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "progress.jsonl")
        tail, seen, start = Tail(path), [], 0
        for end in [*sorted(cuts), len(data)]:
            with path.open("ab") as file:
                file.write(data[start:end])
            start = max(start, end)
            seen += [line.epoch for line in tail.lines()]
    assert seen == list(range(10))


@pytest.mark.parametrize(
    "given_",
    [
        {"epochs": -1},
        {"imgsz": 100},
        {"lr0": 0},
        {"lr0": float("nan")},
        {"optimizer": "rm -rf"},
        {"device": "/etc"},
        {"project": "elsewhere"},
        {"data": "x.yaml"},
    ],
)
def test_only_known_parameters_in_their_range(given_: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainingParameters.model_validate(given_)


def test_parameters_become_ultralytics_arguments() -> None:
    arguments = TrainingParameters(
        epochs=3, batch=8, rehearsal_images_max=5, plots=False
    ).ultralytics()
    assert (arguments["nbs"], arguments["close_mosaic"], arguments["plots"]) == (8, 3, False)
    assert not {"rehearsal_images_max", "device", "freeze"} & set(arguments)
    assert TrainingParameters(cache=None).ultralytics()["cache"] is False


def test_a_small_input_has_fewer_places_than_the_head_has_rows() -> None:
    assert tuple(detections(s, s) for s in (64, 96, 160, 640)) == (84, 189, 300, 300)


def test_figures_are_said_in_a_line() -> None:
    progress = {
        "epoch": 2, "epochs": 9, "losses": {"box": 1.25}, "map50": 0.5, "map50_95": None,
        "remaining_s": 75.2,
    }  # fmt: skip
    assert figures(progress) == "epoch 2/9  box 1.250  mAP50 0.500  1:15 left"
    assert figures({}) == ""
