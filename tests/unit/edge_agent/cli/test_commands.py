"""The commands as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.__main__ import app
from edge_agent.cli.synthetic import picture
from edge_agent.cli.trial import Trial, run_trial
from edge_agent.ledger import ERROR, Account
from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.states import Committed, committed_name
from tests.fixtures.models import write_bundle
from tests.fixtures.seeing import fake_bundle
from tests.unit.edge_agent.local.views import Told, serving

CONFIG = """
device = { id = "box-1", data_dir = "data" }
hub = { url = "http://127.0.0.1:9", token = "t" }
mqtt = { host = "127.0.0.1", port = 9 }
cameras = [{ id = "cam", source = "rtsp://127.0.0.1:9/", slot = "tiny" }]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG)
    return path


def invoke(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == exit_code, result.output
    return result.stdout


def commit(config: Path, **bundle: object) -> str:
    """Let the slot's bundle lie in the data folder as after an update; its digest."""
    store = Store(config.parent / "data")
    store.open()
    digest, _ = write_bundle(config.parent / "bundle", **bundle)  # type: ignore[arg-type]
    folder = BundleStore(store.bundles).path(digest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    (config.parent / "bundle").rename(folder)
    store.save(committed_name("tiny"), Committed(digest=digest))
    store.close()
    return digest


def test_the_self_test_of_what_is_served(config: Path) -> None:
    assert "wait for its first update" in invoke_error("selftest", "-c", config)
    digest = commit(config)
    found = json.loads(invoke("selftest", "-c", config, "--seconds", 0.2, "--json"))
    assert found["passed"]
    slot = found["slots"]["tiny"]
    assert slot["bundle"] == digest
    assert slot["golden"]["frames"] == 3
    assert slot["pipeline"]["inferred"] > 0
    assert slot["pipeline"]["unaccounted"] == 0


def test_a_bundle_that_sees_otherwise_fails_the_self_test(config: Path) -> None:
    commit(config, golden_error=0.3)
    shown = invoke("selftest", "-c", config, "--seconds", 0.1, exit_code=1)
    assert "FAIL" in shown


def test_a_bundle_with_a_rotten_file_fails_the_self_test_though_it_answers(config: Path) -> None:
    digest = commit(config, padding_bytes=1000)
    rotten = config.parent / "data" / "bundles" / digest / "padding.bin"
    rotten.write_bytes(bytes(1000))
    found = json.loads(invoke("selftest", "-c", config, "--seconds", 0.1, "--json", exit_code=1))
    slot = found["slots"]["tiny"]
    assert (found["passed"], slot["passed"], slot["golden"]["passed"]) == (False, False, True)
    assert "padding.bin is damaged or absent" in slot["reason"]


def test_bench_says_how_fast_in_how_much_memory(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    arguments = ("bench", "--bundle", tmp_path / "bundle", "--seconds", 0.2, "--cameras", 2)
    small = ("--width", 64, "--height", 48)
    found = json.loads(invoke(*arguments, *small, "--json"))
    assert found["frames_per_s"] > 0
    assert len(found["frames_per_s_by_camera"]) == 2
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert found["rss_bytes"] > 10_000_000
    assert found["unaccounted"] == 0
    assert "frames per second" in invoke(*arguments, *small)
    assert "no bundle in" in invoke_error("bench", "--bundle", tmp_path)


def test_a_trial_whose_frames_fail_says_why() -> None:
    figures = run_trial(fake_bundle(fails=True), Trial(seconds=0.05, width=64, height=48))
    assert figures.dropped[ERROR] > 0
    assert figures.unaccounted == 0
    assert figures.latency_ms is None
    assert "fails on purpose" in figures.reason


def test_synthetic_pictures_move_and_are_the_same_at_every_run() -> None:
    first, second = picture(320, 240, 0), picture(320, 240, 1)
    assert (first != second).any()
    assert (first == picture(320, 240, 0)).all()


def test_status_of_a_device_that_is_off(config: Path) -> None:
    found = json.loads(invoke("status", "-c", config, "--json"))
    assert (found["agent_running"], found["live"], found["cameras"]) == (False, None, None)
    shown = invoke("status", "-c", config)
    assert "does not run" in shown
    assert "nothing" in shown
    digest = commit(config)
    slot = json.loads(invoke("status", "-c", config, "--json"))["slots"]["tiny"]
    assert (slot["serves"], slot["committed"]) == (None, digest)
    assert f"committed {digest[:12]}" in invoke("status", "-c", config)


def test_status_of_a_slot_that_does_not_serve_what_was_committed(
    config: Path, tmp_path: Path
) -> None:
    digest = commit(config)
    told = Told(bundle=None)
    with serving(told, tmp_path / "data"):
        slot = json.loads(invoke("status", "-c", config, "--json"))["slots"]["tiny"]
        assert (slot["serves"], slot["committed"]) == (None, digest)
        assert slot["error"] == "fails <on> purpose"
        shown = " ".join(invoke("status", "-c", config).split())
        assert f"committed {digest[:12]}" in shown
        assert "fails <on>" in shown
    with serving(Told(), tmp_path / "data"):
        slot = json.loads(invoke("status", "-c", config, "--json"))["slots"]["tiny"]
        assert slot["serves"] == "a" * 64


def test_status_and_preview_of_a_device_that_runs(config: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with serving(Told(), data) as port:
        shown = invoke("status", "-c", config)
        assert "output plc: 4 sent, 0 dropped" in shown
        assert "output mes: 1 sent; DOWN: the broker is away" in " ".join(shown.split())
        assert "reject lacks scratch" in shown
        assert "GPU 0.0 %" in shown
        assert "processor unknown" in shown
        found = json.loads(invoke("preview", "-c", config, "--json"))
        assert found["page"] == f"http://127.0.0.1:{port}/"
        assert found["cameras"]["cam"] == f"http://127.0.0.1:{port}/preview/cam.mjpg"
        out = tmp_path / "cam.jpg"
        invoke("preview", "-c", config, "--camera", "cam", "--out", out)
        assert out.read_bytes()[:3] == b"\xff\xd8\xff"
        wrong = ("preview", "-c", config, "--camera", "none", "--out", tmp_path / "no.jpg")
        assert "no such camera" in invoke_error(*wrong)
        assert not (tmp_path / "no.jpg").exists()
    assert "start it with" in invoke_error("preview", "-c", config)


def test_there_is_nothing_to_save_of_a_camera_that_saw_nothing(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    out = tmp_path / "dark.jpg"
    with serving(Told(account=Account()), tmp_path / "data"):
        arguments = ("preview", "-c", config, "--camera", "dark", "--out", out)
        result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert (result.exit_code, out.exists()) == (1, False)
    assert "no picture of dark yet; it is BACKING_OFF" in result.output


def test_a_picture_needs_a_camera_and_a_file(config: Path) -> None:
    invoke("preview", "-c", config, "--camera", "cam", exit_code=2)


def test_every_command_helps() -> None:
    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert commands >= {"run", "doctor", "status", "preview", "selftest", "bench", "evaluate"}
    for command in commands:
        assert "--help" in invoke(command, "--help")


def test_a_command_imports_only_what_it_needs() -> None:
    code = "import sys, edge_agent.__main__; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert (
        loaded & {"cv2", "numpy", "pydantic", "onnxruntime", "prometheus_client", "httpx"} == set()
    )


def invoke_error(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 2, result.output
    return result.output
