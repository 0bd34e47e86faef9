"""Chapters in which the hub learns: trainings are asked for, watched and remembered."""

from __future__ import annotations

from typing import Any

from simulators.demo.plan import AISLE, FACTORY, LINE_1, LINE_2, SHELF, Recipe
from simulators.demo.record import VersionMade
from simulators.demo.story import Story, StoryFailed

TRAINING_S = 900.0
FIRST_FACTORY, FIRST_SHELF, RETRAINED, CONTROL = (
    "factory-first",
    "shelf-first",
    "retrained",
    "control",
)
_ENDED_BADLY = ("FAILED", "CANCELED")


def learn_factory(story: Story) -> str:
    """Train the factory's first version from nothing."""
    recipe = story.plan.first[FACTORY]
    _ask(story, FIRST_FACTORY, FACTORY, recipe, {"weights": "scratch"})
    return await_version(story, FIRST_FACTORY)


def ask_for_shelf(story: Story) -> None:
    """Ask for the shelf's first version, begun from the factory's: it learns faster so."""
    number = story.record.version(FIRST_FACTORY).number
    weights = story.folders.work / "factory.pt"
    weights.write_bytes(story.hub.data(f"/versions/{FACTORY}/{number}/weights"))
    _ask(story, FIRST_SHELF, SHELF, story.plan.first[SHELF], {"weights": str(weights.resolve())})


def await_shelf(story: Story) -> str:
    return await_version(story, FIRST_SHELF)


def extend_dataset(story: Story) -> str:
    """Make the next version of the factory's data set, with what was just labelled."""
    body = {"parent": 1, "add_annotations": True, "cameras": [LINE_1, LINE_2]}
    made = story.hub.post(f"/datasets/{FACTORY}/versions", body)
    story.record.jobs["dataset"] = made
    return f"{FACTORY} data set version {made['number']}: {made['counts']['train']} to train on"


def retrain(story: Story) -> str:
    """Train on from the running version, with the new labels and some of the old images."""
    harvested = _harvested_in_training(story)
    dataset = story.record.jobs["dataset"]["number"]
    rehearsal = story.plan.rehearsal_images
    body = {"weights": "parent", "parent_version": story.record.version(FIRST_FACTORY).number}
    _ask(
        story,
        RETRAINED,
        FACTORY,
        story.plan.again,
        {**body, "dataset_version": dataset},
        rehearsal_images_max=rehearsal,
    )
    note = await_version(story, RETRAINED)
    # The control gets as many images for as many epochs, only none of the harvested ones.
    _ask(
        story,
        CONTROL,
        FACTORY,
        story.plan.again,
        {**body, "dataset_version": 1},
        rehearsal_images_max=rehearsal + harvested,
    )
    return f"{note}, with {harvested} harvested images"


def await_control(story: Story) -> str:
    return await_version(story, CONTROL)


def await_version(story: Story, role: str) -> str:
    """Wait for the training of `role` and remember the version that it made."""
    job_id = story.jobs[role]
    latest: dict[str, Any] = {}

    def ended() -> bool:
        latest.update(story.hub.get(f"/training/jobs/{job_id}"))
        if latest["state"] in _ENDED_BADLY:
            raise StoryFailed(f"training {role}: {latest['state']}: {latest.get('error')}")
        return bool(latest["state"] == "SUCCEEDED")

    story.wait(f"training {role}", ended, TRAINING_S, lambda: told(latest))
    story.record.jobs[role] = latest
    made = _version_made(story, role, latest)
    story.record.versions.append(made)
    story.names[made.digest] = f"{made.model} v{made.number}"
    if role != CONTROL:
        cameras = (AISLE,) if made.model == SHELF else (LINE_1, LINE_2)
        story.record.mark(latest["training_ended_at"], "training", f"{role} trained", *cameras)
    score = "" if made.map50_exported is None else f", mAP50 {made.map50_exported:.3f} as exported"
    return f"{made.model} v{made.number}{score}"


def told(job: dict[str, Any]) -> tuple[float, str]:
    """A job's progress as a share and a text with epoch, score and remaining time."""
    progress = job.get("progress") or {}
    epochs = progress.get("epochs") or 0
    epoch = progress.get("epoch") or 0
    share = epoch / epochs if epochs else 0.0
    if job.get("state") in ("EXPORTING", "EVALUATING"):
        return 1.0, job["state"].lower()
    parts = [] if epochs else [str(job.get("state", "")).lower()]
    if epochs:
        parts.append(f"epoch {epoch}/{epochs}")
    if progress.get("losses"):
        parts.append(f"loss {sum(progress['losses'].values()):.2f}")
    if progress.get("remaining_s") is not None:
        parts.append(f"{progress['remaining_s']:.0f} s left")
    return share, " · ".join(parts)


def _ask(
    story: Story,
    role: str,
    model: str,
    recipe: Recipe,
    body: dict[str, Any],
    *,
    rehearsal_images_max: int | None = None,
) -> None:
    parameters = recipe.parameters(story.plan.seed)
    if rehearsal_images_max is not None:
        parameters["rehearsal_images_max"] = rehearsal_images_max
    job = story.hub.post(
        "/training/jobs",
        {
            "model": model,
            "dataset": model,
            "dataset_version": 1,
            "parameters": parameters,
            "tags": {"role": role},
            **body,
        },
    )
    story.jobs[role] = job["id"]


def _version_made(story: Story, role: str, job: dict[str, Any]) -> VersionMade:
    where = job["version"]
    version = story.hub.get(f"/models/{where['model']}/versions/{where['number']}")
    build = version["builds"][0]
    return VersionMade(
        role=role,
        model=where["model"],
        number=where["number"],
        digest=build["digest"],
        training_s=job["training_ended_at"] - job["started_at"],
        size_bytes=build["size_bytes"],
        map50_exported=(build.get("metrics") or {}).get("map50"),
    )


def _harvested_in_training(story: Story) -> int:
    counts = [
        story.hub.get(f"/datasets/{FACTORY}/versions/{number}")["counts"]["train"]
        for number in (1, story.record.jobs["dataset"]["number"])
    ]
    return int(counts[1] - counts[0])
