"""Check: every camera opens and gives a picture."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.opening import Opener
from edge_agent.cameras.source import CameraSpec
from edge_agent.doctor.finding import Box, Finding, ok, problem
from edge_agent.errors import CameraError
from protocol.messages import as_text
from protocol.states import CameraState

AT_ONCE_MAX = 8
WELL = (CameraState.STREAMING.value, CameraState.ENDED.value)


def check(box: Box) -> Iterator[Finding]:
    if box.config is None:
        return
    if box.live is not None:
        for name, camera in box.live["cameras"].items():
            yield judge_live(name, camera["state"], camera["detail"])
        return
    specs = [camera.spec() for camera in box.config.cameras]
    with ThreadPoolExecutor(min(AT_ONCE_MAX, len(specs))) as pool:
        yield from (judge(*seen) for seen in zip(specs, pool.map(_look, specs), strict=True))


def judge(camera: CameraSpec, seen: tuple[int, int] | str) -> Finding:
    """`seen`: width and height of a picture, or why there is none."""
    if isinstance(seen, str):
        return problem(f"camera {camera.id}: {seen}", "check its source, its cable and its power")
    return ok(f"camera {camera.id}: {camera.name}, {seen[0]}x{seen[1]}")


def judge_live(name: str, state: str, detail: str) -> Finding:
    """What the running agent, which holds the camera, says of it."""
    if state in WELL:
        return ok(f"camera {name}: {state}, says the running agent")
    return problem(
        f"camera {name}: {state}, says the running agent" + (f": {detail}" if detail else ""),
        "check its source, its cable and its power",
    )


def _look(camera: CameraSpec) -> tuple[int, int] | str:
    try:
        source = Opener()(camera, "doctor", CaptureLimits())
        try:
            grab = source.read()
        finally:
            source.close()
    except CameraError as error:
        return as_text(error)
    if grab is None:
        return "it has no picture"
    return int(grab.image.shape[1]), int(grab.image.shape[0])
