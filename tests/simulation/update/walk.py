"""The random walk: hard times, kind times, and what must hold after every step."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from edge_agent.errors import EdgeError
from edge_agent.update.boot_guard import BootCount, boot_name
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.floors import FLOORS, Floors
from edge_agent.update.retention import references
from edge_agent.update.slot_state import slot_state
from edge_agent.update.standing import choices, turns
from edge_agent.update.start_note import StartNote, start_note_name
from edge_agent.update.states import BY_HAND, same_attempt
from protocol.errors import ProtocolError
from protocol.messages import SlotDesired
from protocol.states import (
    BEFORE_EXCHANGE,
    EXECUTION_TABLE,
    TERMINAL_EXECUTION_STATES,
    ExecutionState,
)
from tests.simulation.update.bundles import Quality, SimulatedBundle
from tests.simulation.update.disk import BROKEN, FULL
from tests.simulation.update.life import SLOT, Life
from tests.simulation.update.world import YEAR_S, World

S = ExecutionState
STEPS = 50
SETTLE_MAX = 4
USED_SHARE = 0.8
HEALING_SHARE = 0.3
KIND_STEPS_MAX = 600
FRESH_S = 200.0
OPEN_DETECTORS_MAX = 3
REVOKING_SHARE = 0.3
LEGAL = {(before, after) for (before, _event), after in EXECUTION_TABLE.items()}


class BrokenWalkError(AssertionError):
    """Something that must always hold did not; the text tells the whole walk."""


@dataclass
class Walked:
    """What one walk came to; states by how often they were told, and died in."""

    deaths: int
    attempts: int
    told: Counter[str]
    died_in: Counter[str]


def walk(seed: int, bundles: Sequence[SimulatedBundle], folder: Path) -> Walked:
    """Play the walk of `seed`. Raises BrokenWalkError."""
    world = World(seed, bundles, folder)
    with world.in_place():
        try:
            begin(world)
            for _ in range(STEPS):
                happen(world)
                for _ in range(world.rng.randint(1, SETTLE_MAX)):
                    settle(world)
                    check(world)
                heal(world)
            converge(world)
        except Exception as error:
            story = "\n".join(world.trace[-80:])
            told = [f"{n} {r.attempt} {r.state.value} {r.reason}" for n, r in world.outbox.events]
            raise BrokenWalkError(
                f"seed {seed}: {type(error).__name__}: {error}\n"
                f"replay: python -m tests.simulation.update {seed}\n{story}\n"
                + "\n".join(told[-40:])
            ) from error
        world.stop()
    seen = Counter(report.state.value for _, report in world.outbox.events)
    deaths = world.counts["kills"] + world.counts["power cuts"]
    return Walked(deaths, world.attempts, seen, world.died_in)


def begin(world: World) -> None:
    """A device that serves a good bundle, or one that was never used; then times get hard."""
    world.start()
    if world.rng.random() < USED_SHARE:
        good = [b for b in world.bundles.values() if b.quality is Quality.GOOD]
        world.desire(world.rng.choice(good).digest)
        for _ in range(KIND_STEPS_MAX):
            world.now += 1.0
            settle(world)
            if world.outbox.events[-1][1].state is S.SUCCEEDED:
                break
    world.kind = False


# ---- what happens ----------------------------------------------------------------------


def happen(world: World) -> None:
    """One thing befalls the device."""
    names = list(HAPPENINGS)
    weights = [HAPPENINGS[name][0] for name in names]
    name = world.rng.choices(names, weights)[0]
    if name != "time":
        world.note(name)
    HAPPENINGS[name][1](world)


def _time(world: World) -> None:
    world.now += world.rng.choice([0.1, 1.0, 1.0, 5.0, 5.0, 30.0, 400.0])


def _desire(world: World) -> None:
    digest = world.rng.choice(list(world.bundles))
    revokes = world.rng.random() < REVOKING_SHARE
    floor = world.rng.randint(1, world.bundles[digest].manifest.version) if revokes else 1
    world.desire(digest, floor=floor, **world.policies())


def _desire_other_words(world: World) -> None:
    """The same attempt with other words around it."""
    wanted = None if world.desired is None else world.desired.slots.get(SLOT)
    if wanted is not None:
        shadow = wanted.shadow and wanted.shadow.model_copy(update={"accepted": True})
        world.say({SLOT: wanted.model_copy(update={"hold": False, "shadow": shadow})})


def _what_was_before(world: World) -> None:
    """A rollout failed here, and the hub desires again what it did at some time before it."""
    if world.said:
        before = world.rng.choice(world.said[-4:])
        world.say({SLOT: before.model_copy(update={"hold": False, "shadow": None})})


def _network(world: World) -> None:
    if world.network.up:
        world.network.lose()
        return
    world.network.up = True
    world.act(Life.link_up)
    world.tell_desired()


def _hub_silent(world: World) -> None:
    world.network.hub_answers = not world.network.hub_answers


def _disk(world: World) -> None:
    if world.life is not None:
        disk = world.life.disk
        disk.refuses = 0 if disk.refuses else world.rng.choice([FULL, BROKEN])


def _outbox(world: World) -> None:
    world.outbox.refuses = not world.outbox.refuses


def _die_soon(world: World) -> None:
    if world.life is not None:
        world.life.disk.die_after(world.rng.randint(1, 25))


def _older(world: World) -> None:
    """A broker gives an old desired state once more."""
    if world.life is not None and world.desired is not None and world.generation > 1:
        old = world.desired.model_copy(update={"generation": world.generation - 1, "slots": {}})
        world.life.inbox.append(old)


def heal(world: World) -> None:
    """What is broken may be whole again a while later."""
    chance = world.rng.random
    if not world.network.up and chance() < HEALING_SHARE:
        _network(world)
    world.network.hub_answers = world.network.hub_answers or chance() < HEALING_SHARE
    world.outbox.refuses = world.outbox.refuses and chance() > HEALING_SHARE
    if world.life is not None and chance() < HEALING_SHARE:
        world.life.disk.refuses = 0


HAPPENINGS: dict[str, tuple[int, Callable[[World], object]]] = {
    "time": (40, _time),
    "desire": (5, _desire),
    "the same, in other words": (8, _desire_other_words),
    "what was before": (3, _what_was_before),
    "the same again": (3, World.tell_desired),
    "an older generation": (2, _older),
    "nothing desired": (1, lambda world: world.desire(None)),
    "network": (5, _network),
    "hub": (2, _hub_silent),
    "disk": (4, _disk),
    "outbox": (2, _outbox),
    "dies soon": (6, _die_soon),
    "kill": (4, World.kill),
    "stop": (2, World.stop),
    "hold": (2, lambda world: world.ask("hold")),
    "release": (1, lambda world: world.ask("release")),
    "rollback": (4, lambda world: world.ask("rollback")),
    "rot": (2, World.rot),
    "clock": (3, lambda world: world.jump(world.rng.choice([YEAR_S, -YEAR_S]))),
}


def settle(world: World, jobs_max: int = 2) -> None:
    """Let the process do some of what it has to do, and start it where it is dead."""
    if world.life is None:
        world.start()
    while world.network.underway and world.life is not None:
        world.life.inbox.append(world.network.underway.popleft())
    for _ in range(jobs_max if world.kind else world.rng.randint(0, jobs_max)):
        if world.life is not None and world.life.jobs:
            job = world.life.jobs.popleft()
            world.act(lambda _life, job=job: job())  # type: ignore[misc]
    while world.life is not None and world.life.inbox:
        world.act(Life.take_one)
    world.act(Life.tick)


# ---- what must hold --------------------------------------------------------------------


def check(world: World) -> None:
    """What holds at every moment of every life."""
    check_told(world)
    life = world.life
    if life is None or not life.begun:
        return
    committed, record = world.on_disk()
    current = life.slot.current()
    if current is not None:
        assert current.digest in world.proven, "something unproven serves"
        assert not current.detector.closed, "what serves was let go"  # type: ignore[attr-defined]
    if current is None and committed is not None:
        assert not able(world, life), "nothing serves, and something could"
    told = world.outbox.told.get(SLOT, 0)
    assert told <= (0 if record is None else record.transition), "told before it was persisted"
    assert len(life.open_detectors()) <= OPEN_DETECTORS_MAX, life.open_detectors()


def able(world: World, life: Life) -> list[str]:
    """What could serve at a start by the disk: a choice, whole, that has not had its starts."""
    found = []
    state = slot_state(SLOT, life.store)
    bundles = BundleStore(life.store.bundles)
    count = life.store.load(boot_name(SLOT), BootCount)
    for digest in choices(state, bundles.digests()):
        if count is not None and count.of(digest) >= world.limits.boot_starts_max:
            continue
        with contextlib.suppress(EdgeError, ProtocolError, OSError):
            bundles.verify(digest)
            found.append(digest)
    return found


def check_left(world: World) -> None:
    """An attempt that a person left is never gone on with, whatever the hub desires again."""
    left: dict[int, int] = dict(world.left)
    for at, (_, report) in enumerate(world.outbox.events):
        if report.attempt in left and at > left[report.attempt]:
            over = report.state in TERMINAL_EXECUTION_STATES
            going = over or report.state in (S.QUEUED, S.ROLLING_BACK)
            assert going, f"{report.attempt} was left by hand and is {report.state.value}"
        if report.reason == BY_HAND:
            left.setdefault(report.attempt, at)


def check_told(world: World) -> None:
    """Each transition once, in order, each attempt along the table from QUEUED to its end."""
    check_left(world)
    numbers = [number for number, _ in world.outbox.events]
    assert numbers == list(range(1, len(numbers) + 1)), f"told out of order: {numbers}"
    for (_, before), (_, after) in pairwise(world.outbox.events):
        if after.state is S.QUEUED:
            assert before.state in TERMINAL_EXECUTION_STATES, f"{before} was left open"
        else:
            assert before.attempt == after.attempt, f"{before} then {after}"
            assert (before.state, after.state) in LEGAL, f"{before.state} then {after.state}"


def converge(world: World) -> None:
    """Times are kind again: the newest desired state is reached, and nothing is left over."""
    world.note("kind times")
    world.kind = True
    world.network.up = world.network.hub_answers = True
    world.outbox.refuses = False
    if world.life is not None and world.rng.random() < 0.5:
        world.life.disk.spare()
    else:
        world.kill()
    world.ask("release")
    for _ in range(5):  # what people asked for is carried out before anything else is desired
        world.now += 1.0
        settle(world)
        check(world)
    wanted = under_way(world)
    if wanted is None or world.rng.random() < 0.3:
        good = world.rng.random() < 0.7
        fitting = [b for b in world.bundles.values() if (b.quality is Quality.GOOD) is good]
        chosen = world.rng.choice(fitting)
        floor = world.rng.randint(1, chosen.manifest.version)
        world.desire(chosen.digest, floor=floor)
        wanted = None if world.desired is None else world.desired.slots[SLOT]
    else:
        wanted = wanted.model_copy(update={"hold": False, "shadow": None, "window": None})
        world.say({SLOT: wanted})
    assert wanted is not None
    for _ in range(KIND_STEPS_MAX):
        world.now += 1.0
        settle(world)
        check(world)
        if has_ended(world, wanted):
            break
    else:
        raise AssertionError("it does not come to its end")
    check_end(world, wanted)


def under_way(world: World) -> SlotDesired | None:
    """The newest attempt, where nothing speaks against its success: it has to go on then."""
    _, record = world.on_disk()
    wanted = None if world.desired is None else world.desired.slots.get(SLOT)
    if record is None or wanted is None or record.state not in BEFORE_EXCHANGE:
        return None
    fresh = record.spent_s < FRESH_S and wanted.timeout_s is None
    good = world.bundles[wanted.bundle_digest].quality is Quality.GOOD
    fresh = fresh and wanted.attempt not in world.left
    return wanted if same_attempt(record.desired, wanted) and fresh and good else None


def has_ended(world: World, wanted: SlotDesired) -> bool:
    _number, report = world.outbox.events[-1] if world.outbox.events else (0, None)
    return (
        report is not None
        and report.attempt == wanted.attempt
        and report.state in TERMINAL_EXECUTION_STATES
    )


def check_end(world: World, wanted: SlotDesired) -> None:
    """The right end, the right bundle, and neither memory nor disk holds anything else."""
    quality = world.bundles[wanted.bundle_digest].quality
    final, life = world.outbox.events[-1][1].state, world.life
    assert life is not None
    for _ in range(40):  # what is revoked makes way
        world.now += 1.0
        settle(world)
        check(world)
    current = life.slot.current()
    digest = None if current is None else current.digest
    state, bundles = slot_state(SLOT, life.store), BundleStore(life.store.bundles)
    assert state.committed is None or state.committed.untold == (), "who took over was not told"
    assert digest is None or digest in choices(state, bundles.digests()), "no start would serve it"
    if current is not None:
        floors = life.store.load(FLOORS, Floors) or Floors()
        floor = floors.by_model().get(current.manifest.model, 1)
        if current.manifest.version < floor:
            versions = {d: world.bundles[d].manifest.version for d in able(world, life)}
            note = life.store.load(start_note_name(SLOT), StartNote)
            ended = [why for why in (note.why if note else ()) if "ended the agent" in why]
            better = [
                d
                for d in turns(state, bundles.digests())
                if versions.get(d, 0) >= floor and not any(d[:12] in why for why in ended)
            ]
            assert not better, f"it is revoked, and {better} could serve"
    if quality is Quality.GOOD:
        assert (final, digest) == (S.SUCCEEDED, wanted.bundle_digest)
    elif final is S.SUCCEEDED:
        assert quality is Quality.SHADOW_FAILS, "a bad bundle succeeded"
    else:
        assert final in (S.REJECTED, S.FAILED, S.ROLLED_BACK)
    assert life.open_detectors() == ([] if digest is None else [digest])
    world.stop()
    settle(world)
    life = world.life
    assert life is not None
    assert life.store.leftovers() == []
    bundles = BundleStore(life.store.bundles)
    loose = set(bundles.digests()) - set(references([slot_state(SLOT, life.store)]))
    loose -= {digest}  # what serves stays, whatever is committed
    assert len(loose) <= world.limits.bundles_kept_max, f"held for nobody: {loose}"
