"""`argosy build`: tables that fit into a terminal, and what is said of one build."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from cloud.cli import client
from cloud.cli.main import app

DIGEST = "0123456789abcdef" * 4
HEADS = ["target", "verdict", "mAP50", "mAP50-95", "ms", "fps", "MB", "digest"]
FIT = {"images": 24, "thresholds": {"by_class": {}}, "calibration": {"method": "platt"}}


def a_build(target: str, state: str = "EVALUATED", **metrics: Any) -> dict[str, Any]:
    reasons = ["mAP50 is 0.1"] if state == "REJECTED" else []
    return {
        "digest": DIGEST, "model": "caps", "number": 1, "target": target, "state": state,
        "size_bytes": 9_876_543, "verdict": {"reasons": reasons}, "notes": {"fit": FIT, "rung": 2},
        "metrics": {"map50": 0.98765, "map50_95": 0.61849, "latency_ms_median": 123.456,
                    "fps": 1234.56, **metrics},
    }  # fmt: skip


BUILDS = [
    a_build("openvino-bf16-640x640"),
    a_build("openvino-int8-640x640", "REJECTED", map50=None),
    a_build("onnx-int8-640x640", "REVOKED"),
]


class Hub:
    """Answers what a hub would."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def get(self, path: str) -> Any:
        return self._answers[path]


def told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: dict[str, Any],
    *arguments: str,
    columns: int = 80,
) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(client, "open_client", lambda _data, _url: Hub(answers))
    monkeypatch.setattr(sys, "argv", ["argosy", "build", *arguments])
    with pytest.raises(SystemExit) as ended:
        app()
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_is_whole_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    answers = {"models/caps/versions/1": {"builds": BUILDS}}
    out = told(monkeypatch, capsys, answers, "list", "caps", "1", columns=columns)
    lines = out.splitlines()
    assert [line.split() for line in lines] == [
        HEADS,
        ["openvino-bf16-640x640", "ADMITTED", "0.988", "0.618", "123.5", "1234.6", "9.9",
         DIGEST[:12]],
        ["openvino-int8-640x640", "REJECTED", "-", "0.618", "123.5", "1234.6", "9.9",
         DIGEST[:12]],
        ["onnx-int8-640x640", "REVOKED", "0.988", "0.618", "123.5", "1234.6", "9.9",
         DIGEST[:12]],
        ["openvino-int8-640x640:", "mAP50", "is", "0.1"],
    ]  # fmt: skip
    assert max(len(line) for line in lines) <= columns


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (FIT, "calibration platt, on 24 images"),
        ({"images": 8, "calibration": {"method": "identity"}}, "calibration none, on 8 images"),
        (None, "-"),
    ],
)
def test_a_build_says_in_a_line_how_it_was_fitted(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fit: dict[str, Any] | None,
    words: str,
) -> None:
    build = a_build("onnx-fp32-640x640", ece_raw=0.1, ece_calibrated=None)
    build["notes"]["fit"] = fit
    out = told(monkeypatch, capsys, {f"builds/{DIGEST}": build}, "show", DIGEST)
    lines = {line.strip().split("  ")[0]: line.split() for line in out.splitlines() if line.strip()}
    assert lines["fit"][1:] == words.split()
    assert lines["notes"] == ["notes", "rung=2"]
    assert lines["ece calibrated"][-1] == "-"
    assert "by_class" not in out


def test_accuracy_that_could_not_be_judged_stands_below_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = a_build("onnx-fp32-640x640", map50=0.0)
    blind = "accuracy: it finds none of the labelled objects"
    build["verdict"]["figures"] = {"unjudged": [blind, "parity: there is no original"]}
    out = told(
        monkeypatch, capsys, {"models/caps/versions/1": {"builds": [build]}}, "list", "caps", "1"
    )
    assert out.splitlines()[-1] == f"onnx-fp32-640x640: {blind}"
    assert "parity" not in out
    shown = told(monkeypatch, capsys, {f"builds/{DIGEST}": build}, "show", DIGEST)
    assert f"  {blind}" in shown.splitlines()
