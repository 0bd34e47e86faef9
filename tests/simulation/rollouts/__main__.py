"""Replay one world: `python -m tests.simulation.rollouts SEED [--devices 100000]`."""

from __future__ import annotations

import argparse
import re
from collections import Counter

from tests.simulation.rollouts.hub import STARTED_AT
from tests.simulation.rollouts.scenario import build_world
from tests.simulation.rollouts.test_seeds import check_the_end, devices_of, run_to_the_end
from tests.simulation.rollouts.world import World


def describe(world: World) -> str:
    """What the seed has decided."""
    hub = world.hub
    kinds = Counter(edge.kind for edge in hub.edges.values())
    return (
        f"{len(hub.edges)} devices: {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}\n"
        f"{hub.rollout.policy}\n{world.people}\n{world.faults}\n"
        f"window: {hub.window}; shadow: {hub.shadow}"
    )


def in_words(what: object) -> str:
    """A line of the log; digests by their first letters."""
    if isinstance(what, tuple):
        return "{}, attempt {}: {}".format(*what)
    text = what if isinstance(what, str) else f"  {what}"
    return re.sub(r"([0-9a-f])\1{63}", r"\1…", text)


def outcome(world: World) -> str:
    """What it came to."""
    hub = world.hub
    states = Counter(rows[-1].state.value for rows in hub.rows.values())
    ended = f"{hub.rollout.state.value} {hub.outcome.value if hub.outcome else hub.stopped or ''}"
    counts = ", ".join(f"{n} {state}" for state, n in states.most_common())
    return f"{ended} after {world.ticks} ticks, {len(hub.began)} starts: {counts}"


def main() -> None:
    """Play the world of the seed that was named, and print what happens in it."""
    asked = argparse.ArgumentParser(prog="python -m tests.simulation.rollouts")
    asked.add_argument("seed", type=int)
    asked.add_argument("--devices", type=int, help="as the seed has it where left out")
    given = asked.parse_args()
    world = build_world(given.seed, devices_of(given.seed), devices=given.devices)
    print(describe(world))  # noqa: T201 - a command's output
    try:
        run_to_the_end(world)
        check_the_end(world)
    finally:
        for at, what in world.hub.log:
            print(f"{at - STARTED_AT:10.1f} s  {in_words(what)}")  # noqa: T201
        print(outcome(world))  # noqa: T201


if __name__ == "__main__":
    main()
