"""Chapters in which the fleet changes: rollouts, drift, harvest, labels."""

from __future__ import annotations

from typing import Any

import httpx

from simulators.annotator import Oracle, TruthBook
from simulators.demo.learning import FIRST_FACTORY, FIRST_SHELF, RETRAINED, ask_for_shelf
from simulators.demo.plan import AISLE, LINE_1, LINE_2, PLACES
from simulators.demo.story import Story, StoryFailed, running_digest
from simulators.hub import Hub

ROLLOUT_S = 150.0
LABEL_S = 60.0
_ROLLOUT_ENDED = ("FINISHED", "STOPPED")


def roll_out_factory(story: Story) -> str:
    """Both lines at once; the shelf's version is learnt meanwhile."""
    ask_for_shelf(story)
    return _roll_out(story, FIRST_FACTORY, [], (LINE_1, LINE_2))


def roll_out_shelf(story: Story) -> str:
    return _roll_out(story, FIRST_SHELF, [], (AISLE,))


def roll_out_retrained(story: Story) -> str:
    """The drifted line first; the other follows when it has soaked there."""
    waves: list[dict[str, Any]] = [{"selector": "line=line-2"}, {"percent": 100}]
    return _roll_out(story, RETRAINED, waves, (LINE_1, LINE_2))


def watch_undrifted(story: Story) -> str:
    story.pause("the devices to settle", story.plan.settle_s)
    story.span("before", story.plan.watch_s)
    return "the world as the first data set showed it"


def drift(story: Story) -> str:
    """Turn the second line's world."""
    dials = {name: dial for name, dial in story.plan.drift.as_dict().items() if dial}
    answer = httpx.put(
        f"{story.camera_urls[LINE_2]}/drift", json=dials, timeout=10, trust_env=False
    )
    answer.raise_for_status()
    said = ", ".join(f"{name} {dial:g}" for name, dial in dials.items())
    story.mark("drift", f"the world changes: {said}", LINE_2)
    story.pause("the change to be in sight", story.plan.settle_s)
    return said


def harvest(story: Story) -> str:
    """Ask the devices for doubtful and random images, until the budget is spent."""
    story.mark("harvest", "images are asked for", LINE_2)
    plan = story.plan
    for place in PLACES:
        wanted = plan.harvest_images if place.camera == LINE_2 else plan.harvest_other_images
        rate = plan.harvest_per_s * wanted / plan.harvest_images
        _set_harvest(story, place.device, enabled=True, per_hour=rate * 3600, burst=3)
    began = story.clock()

    def passed() -> float:
        return story.clock() - began

    def sent() -> int:
        return sum(1 for _ in story.hub.items("/samples", camera=LINE_2))

    def enough() -> bool:
        done = sent() >= plan.harvest_images and passed() >= plan.drifted_s
        return done or passed() > plan.harvest_timeout_s

    story.wait(
        "samples of the drifted line",
        enough,
        plan.harvest_timeout_s + 10,
        lambda: (min(1.0, passed() / plan.drifted_s), f"{sent()} images of {LINE_2}"),
    )
    # The old version is measured on the frames of this time that were not sent.
    story.record.windows["under"] = (began, story.clock())
    for place in PLACES:
        _set_harvest(story, place.device, enabled=False, per_hour=0, burst=0)
    if sent() < plan.harvest_images // 3:
        raise StoryFailed(f"only {sent()} images came back from {LINE_2}; too few to learn from")
    return f"{sum(1 for _ in story.hub.items('/samples'))} images came back"


def annotate(story: Story) -> str:
    """Label what came, as an annotator through the REST interface."""
    token = story.hub.post("/tokens", {"name": "oracle", "role": "annotator"})["token"]
    hub = Hub(story.address.url, token)
    oracle = Oracle(hub, TruthBook([story.folders.truth(place.camera) for place in PLACES]))

    def all_labelled() -> bool:
        oracle.work()
        samples = sum(1 for _ in story.hub.items("/samples"))
        return oracle.done.labelled + oracle.done.skipped >= samples

    try:
        story.wait("labels", all_labelled, LABEL_S)
    finally:
        hub.close()
    story.record.samples_annotated = oracle.done.labelled
    story.record.last_label_at = oracle.done.last_label_at
    story.mark("labels", f"{oracle.done.labelled} images labelled", LINE_2)
    return f"{oracle.done.labelled} images, {oracle.done.boxes} boxes"


def watch_recovered(story: Story) -> str:
    story.pause("the devices to settle", story.plan.settle_s)
    story.span("after", story.plan.watch_s)
    return "the same drifted world, the new version"


def _set_harvest(story: Story, device: str, *, enabled: bool, per_hour: float, burst: int) -> None:
    policy = {
        "enabled": enabled,
        "images_per_hour": per_hour,
        "images_burst": burst,
        "bytes_per_hour": 2e9,
        "random_share": story.plan.random_share,
        "uncertainty_min": story.plan.uncertainty_min,
    }
    story.hub.put(f"/devices/{device}/desired", {"harvest": policy})


def _roll_out(
    story: Story, role: str, waves: list[dict[str, Any]], cameras: tuple[str, ...]
) -> str:
    made = story.record.version(role)
    plan = story.plan
    rollout_id = story.hub.post(
        "/rollouts",
        {
            "model": made.model,
            "version": made.number,
            "name": role,
            "waves": waves,
            "soak_s": plan.soak_s,
            "probation_s": plan.probation_s,
        },
    )["id"]
    devices = {c.device: c.camera for c in story.record.cameras if c.camera in cameras}
    latest: dict[str, Any] = {}
    swapped: set[str] = set()

    def ended() -> bool:
        latest.update(story.hub.get(f"/rollouts/{rollout_id}"))
        for device in devices.keys() - swapped:
            if running_digest(story.hub.get(f"/devices/{device}"), made.model) == made.digest:
                swapped.add(device)
                story.mark("swap", f"runs {made.model} v{made.number}", devices[device])
        return latest["state"] in _ROLLOUT_ENDED

    story.wait(
        f"rollout of {made.model} v{made.number}",
        ended,
        ROLLOUT_S,
        lambda: (len(swapped) / len(devices), _counts(latest)),
    )
    story.record.rollouts.append({**latest, "role": role})
    if latest["state"] != "FINISHED" or swapped != devices.keys():
        raise StoryFailed(
            f"rollout of {made.model} v{made.number}: {latest['state']}, running on "
            f"{', '.join(sorted(swapped)) or 'no device'}: {latest.get('reason', '')}"
        )
    return f"{made.model} v{made.number} runs on {', '.join(sorted(swapped))}"


def _counts(rollout: dict[str, Any]) -> str:
    counts = rollout.get("counts") or {}
    return " · ".join(f"{n} {state}" for state, n in sorted(counts.items()) if n)
