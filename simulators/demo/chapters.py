"""The story's steps, in the order in which they are told."""

from __future__ import annotations

from simulators.demo import changing, learning, opening
from simulators.demo.closing import collect
from simulators.demo.judging import judge_and_draw
from simulators.demo.plan import LINE_2
from simulators.demo.story import Step

STEPS = (
    Step("render", "Render the first images", opening.render_datasets),
    Step("import", "Import them as data sets", opening.import_datasets),
    Step("learn", "Train the factory's detector from nothing", learning.learn_factory),
    Step("enrol", "Open the cameras, enrol the devices", opening.open_shop),
    Step("rollout-factory", "Roll it out to both lines", changing.roll_out_factory),
    Step("learn-shelf", "Train the shelf's detector", learning.await_shelf),
    Step("rollout-shelf", "Roll it out to the shelf", changing.roll_out_shelf),
    Step("before", "Watch the world as it was", changing.watch_undrifted),
    Step("drift", f"The world of {LINE_2} changes", changing.drift),
    Step("harvest", "Doubtful and random images come back", changing.harvest),
    Step("annotate", "The images are labelled", changing.annotate),
    Step("extend", "They join the data set", learning.extend_dataset),
    Step("retrain", "Retrain from the running version", learning.retrain),
    Step("rollout", "Roll out in two waves", changing.roll_out_retrained),
    Step("after", "Watch the drifted world again", changing.watch_recovered),
    Step("control", "Await the control, trained without the samples", learning.await_control),
    Step("collect", "Stop the devices, ask for all that is stored", collect),
    Step("judge", "Hold what was seen against the truth", judge_and_draw),
)
