from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import cv2
import pytest

from edge_agent.cameras.capture import Capture, CaptureLimits
from edge_agent.cameras.feed import Feed
from edge_agent.cameras.source import CameraSpec, Frame
from edge_agent.clock import Clock
from edge_agent.errors import CameraError
from edge_agent.ledger import Ledger
from protocol.messages import CameraEventReport
from protocol.states import CameraState
from tests.fixtures.seeing import eventually, image, take_one
from tests.unit.edge_agent.cameras.mjpeg import MjpegCamera, number_of, serving
from tests.unit.edge_agent.cameras.scripted import Scripted, running

QUICK = CaptureLimits(backoff_base_s=0.01, backoff_cap_s=0.02, open_timeout_s=2, read_timeout_s=2)


@dataclass
class Watched:
    """A camera that captures, and what it has told."""

    capture: Capture
    feed: Feed
    ledger: Ledger
    states: list[tuple[CameraState, str]] = field(default_factory=list)

    def frames(self, count: int) -> list[Frame]:
        taken = [take_one(self.feed, 20) for _ in range(count)]
        assert None not in taken
        return [f for f in taken if f]

    def seen(self, state: CameraState) -> bool:
        return any(s is state for s, _ in self.states)


@contextlib.contextmanager
def capturing(spec: CameraSpec, limits: CaptureLimits = QUICK) -> Iterator[Watched]:
    ledger = Ledger([spec.id])
    feed = Feed([spec], 4, ledger)
    states: list[tuple[CameraState, str]] = []
    capture = Capture(
        spec,
        feed,
        ledger=ledger,
        clock=Clock(),
        rng=Random(1),
        limits=limits,
        on_camera=lambda _camera, state, detail: states.append((state, detail)),
    )
    capture.start()
    try:
        yield Watched(capture, feed, ledger, states)
    finally:
        capture.stop()
        feed.close()
        capture.join(10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image(seed=number))
    (tmp_path / "1b.jpg").write_bytes(b"this is no image")
    (tmp_path / "notes.txt").write_text("nor is this")
    return tmp_path


def test_a_folder_is_read_in_order_and_what_is_no_image_is_counted(folder: Path) -> None:
    with capturing(CameraSpec("a", str(folder), "tiny")) as watched:
        frames = watched.frames(3)
        eventually(lambda: watched.capture.ended, "the folder ends")
        assert [(f.file, f.index) for f in frames] == [("0.png", 0), ("1.png", 1), ("2.png", 3)]
        assert (frames[2].image == image(seed=2)).all()
        assert watched.ledger.account("a").unreadable == 1
        report = watched.capture.report()
        assert report.state is CameraState.ENDED
        assert "1b.jpg" in report.detail
        assert (report.width, report.height) == (64, 48)


def test_a_looped_folder_begins_again_under_a_new_connection(folder: Path) -> None:
    with capturing(CameraSpec("a", str(folder), "tiny", loop=True)) as watched:
        frames = watched.frames(7)
        assert [f.index for f in frames] == [0, 1, 3, 0, 1, 3, 0]
        assert len({f.connection for f in frames}) == 3
        assert len({f.frame_id for f in frames}) == 7
        assert watched.states == [(CameraState.STREAMING, "")]


@pytest.mark.parametrize("source", ["/not/there.mp4", "http://127.0.0.1:9/stream", "usb:first"])
def test_a_camera_that_is_not_there_says_so_and_is_tried_again(source: str) -> None:
    with capturing(CameraSpec("a", source, "tiny")) as watched:
        eventually(lambda: len(watched.states) >= 4, "two tries")
        state, detail = watched.states[0]
        assert state is CameraState.BACKING_OFF
        assert source in detail
        assert watched.states[1][0] is CameraState.CONNECTING


def test_a_folder_without_a_readable_image_does_not_spin(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with capturing(CameraSpec("a", str(tmp_path), "tiny", loop=True)) as watched:
        eventually(lambda: watched.seen(CameraState.BACKING_OFF), "it backs off")
        assert any("no frame that can be read: a.jpg: is no" in why for _, why in watched.states)


def test_a_file_that_is_named_in_another_encoding_is_told_of(folder: Path) -> None:
    (folder / os.fsdecode(b"2b-caf\xe9.jpg")).write_bytes(b"this is no image")
    with capturing(CameraSpec("a", str(folder), "tiny")) as watched:
        watched.frames(3)
        eventually(lambda: watched.capture.ended, "the folder ends")
        assert watched.capture.report().detail.startswith("2b-caf\\udce9.jpg: ")
        assert watched.states[-1][1] == watched.capture.report().detail


def test_whatever_a_library_says_of_a_lost_camera_can_be_reported() -> None:
    said = "\udce9 " + "and so on, " * 1000
    scripted = Scripted([CameraError(said), RuntimeError(said)])
    with running(scripted) as (capture, played):
        eventually(scripted.over.is_set, "the scripts are over")
        for _state, detail in played().states:
            assert CameraEventReport(camera="a", state=CameraState.ENDED, detail=detail)
        assert capture.report().state is not CameraState.STREAMING
    assert any(detail.startswith("\\udce9 and so on") for _, detail in played().states)


def test_a_file_is_no_faster_than_asked(folder: Path) -> None:
    with capturing(CameraSpec("a", str(folder), "tiny", loop=True, fps_max=50)) as watched:
        times = [f.captured_monotonic for f in watched.frames(12)]
    assert times[-1] - times[0] >= 11 / 50 * 0.9


def test_each_frame_of_a_stream_is_known_by_connection_and_index() -> None:
    camera = MjpegCamera(per_connection=40, fps=50)
    with (
        serving(camera) as url,
        capturing(CameraSpec("a", url + "?user=x", "tiny", live=False)) as watched,
    ):
        frames = watched.frames(30)
        assert [number_of(f.image) for f in frames] == [f.index for f in frames]
        assert [f.index for f in frames] == list(range(30))
        assert {f.connection for f in frames} == {camera.tokens[0]}


@pytest.mark.parametrize(("token", "appended"), [(True, "&connection={}"), (False, "")])
def test_what_is_written_in_a_url_reaches_the_camera_as_it_is(token: bool, appended: str) -> None:
    camera, query = MjpegCamera(per_connection=40), "?user&path=a%2Fb+c;sig=%e9=="
    with serving(camera) as url:
        spec = CameraSpec("a", url + query, "tiny", live=False, connection_token=token)
        with capturing(spec) as watched:
            connection = watched.frames(1)[0].connection
    assert f"/stream{query}{appended.format(connection)}" in camera.paths


def test_a_lost_stream_is_opened_again() -> None:
    camera = MjpegCamera(per_connection=5)
    with serving(camera) as url, capturing(CameraSpec("a", url, "tiny", live=False)) as watched:
        frames = watched.frames(10)
        assert [f.index for f in frames] == [0, 1, 2, 3, 4] * 2
        assert [f.connection for f in frames] == [t for t in camera.tokens[:2] for _ in range(5)]
        assert watched.seen(CameraState.BACKING_OFF)


@pytest.mark.parametrize("camera", [MjpegCamera(5, hangs=True), MjpegCamera(50, broken_index=5)])
def test_a_stream_that_hangs_or_breaks_is_opened_again(camera: MjpegCamera) -> None:
    limits = CaptureLimits(backoff_base_s=0.01, backoff_cap_s=0.02, read_timeout_s=0.5)
    with serving(camera) as url, capturing(CameraSpec("a", url, "tiny", live=False), limits) as w:
        frames = w.frames(10)
        assert [number_of(f.image) for f in frames] == [f.index for f in frames]
        assert [f.index for f in frames] == [0, 1, 2, 3, 4] * 2
        assert any(state is CameraState.BACKING_OFF and url in detail for state, detail in w.states)


def test_a_live_stream_is_thinned_to_the_rate_asked_for() -> None:
    camera = MjpegCamera(per_connection=10_000, fps=100)
    with (
        serving(camera) as url,
        capturing(CameraSpec("a", url, "tiny", fps_max=20, live=False)) as watched,
    ):
        frames = watched.frames(11)
    assert frames[-1].captured_monotonic - frames[0].captured_monotonic >= 10 / 20 * 0.8
    assert [number_of(f.image) for f in frames] == [f.index for f in frames]
    assert frames[-1].index > 11


def test_a_frozen_picture_is_reported_and_then_the_source_is_opened_again() -> None:
    camera = MjpegCamera(per_connection=10_000, fps=50, frozen=True)
    with (
        serving(camera) as url,
        capturing(CameraSpec("a", url, "tiny", stale_after_s=0.1, reopen_after_s=0.5)) as watched,
    ):
        eventually(lambda: watched.seen(CameraState.STALE), "it is stale")
        eventually(lambda: len(camera.tokens) >= 2, "it is opened again")
        states = [state for state, _ in watched.states[:4]]
    assert states == [
        CameraState.STREAMING,
        CameraState.STALE,
        CameraState.BACKING_OFF,
        CameraState.CONNECTING,
    ]
