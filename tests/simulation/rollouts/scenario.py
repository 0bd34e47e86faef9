"""What a seed decides: rules, devices, network, people, and how well the new build sees."""

from __future__ import annotations

from random import Random

from cloud.registry.resolution import BuildOffer
from cloud.rollouts.planning.views import (
    ErrorPolicy,
    GateTimes,
    PacePolicy,
    Policy,
    RolloutView,
    WavePolicy,
)
from cloud.rollouts.states import RolloutState
from protocol.builds import Capabilities
from protocol.messages import MaintenanceWindow
from protocol.states import ExecutionState, Verdict
from tests.simulation.rollouts.builds import ABLE, DIGEST, IDENTITY, OTHER, UNABLE
from tests.simulation.rollouts.devices import Edge, Slot
from tests.simulation.rollouts.hub import STARTED_AT, Hub, Judge
from tests.simulation.rollouts.people import People
from tests.simulation.rollouts.rules import Rules
from tests.simulation.rollouts.world import Faults, World

GOOD, GOOD_AND_LATE = ("good",), ("good", "slow", "flapping")
KINDS = (
    *("good",) * 8,
    *("slow", "losing", "flapping", "flaky", "hung", "silent", "failing"),
    *("rejecting", "refusing", "lying", "returned", "unable", "unsure"),
)
WINDOW = MaintenanceWindow(cron="*/15 * * * *", duration_s=300.0, time_zone="UTC")
FAULTS = Faults(lost=0.1, twice=0.15, late=0.15, killed=0.05, planned_twice=0.1)
BEFORE = "what was before"


def build_world(
    seed: int,
    devices_max: int = 14,
    kinds: tuple[str, ...] = KINDS,
    faults: Faults = FAULTS,
    policy: Policy | None = None,
    sees: str | None = None,
    devices: int | None = None,
) -> World:
    """A world of up to `devices_max` devices; the same for the same arguments.

    devices: so many, and not any number up to `devices_max`.
    sees: how its gates find the new build: good, bad, night, mixed; None: as the seed has it.
    """
    rng = Random(seed)
    devices = devices or rng.randint(max(1, devices_max // 4), devices_max)
    rollout = _rollout(rng, policy or random_policy(rng, devices))
    policy = rollout.policy
    names = [f"dev-{number:06}" for number in range(devices)]
    edges = {
        name: Edge(name, rng.choice(kinds), rng, rng.choice([1.0, 5.0, 20.0])) for name in names
    }
    for edge in edges.values():
        if rng.random() < 0.1:
            edge.vetoed_until = STARTED_AT + rng.uniform(0.0, 1500.0)
    sites = ("ulm", "bonn", "kiel", None) if devices < 100 else _many_sites(devices)
    hub = Hub(
        rollout,
        edges,
        capabilities={name: _capabilities(rng, edges[name]) for name in names},
        sites={name: rng.choice(sites) if policy.site_atomic else None for name in names},
        judge=_judge(rng, sees or rng.choice(["good", "good", "bad", "night", "mixed"])),
        window=WINDOW if rng.random() < 0.25 else None,
        shadow=rng.random() < 0.3,
    )
    hub.slots = {n: None if rng.random() < 0.1 else Slot(OTHER, BEFORE) for n in names}
    joining = names[len(names) // 2 :] if policy.continuous else []
    for number, name in enumerate(names):
        if name not in joining:
            hub.add(name, number * rollout.waves // len(names))
    world = World(rng, hub, _people(rng, policy), faults, Rules(hub), joining=joining)
    world.begin()
    return world


def random_policy(rng: Random, devices: int) -> Policy:
    """Rules of any kind, which may hardly suit so many devices."""
    some = max(1, devices // 4)
    waves = tuple(
        WavePolicy(
            soak_s=rng.choice([0.0, 30.0, 120.0]),
            success_percent=rng.choice([0.0, 50.0, 80.0, 100.0]),
            needs_approval=rng.random() < 0.15,
            gated=rng.random() < 0.8,
        )
        for _ in range(rng.randint(1, 4))
    )
    site_atomic = rng.random() < 0.3
    return Policy(
        waves=waves,
        pace=_pace(rng) if rng.random() < 0.5 else None,
        in_flight_max=rng.choice([None, None, some, devices]),
        failed_max=rng.choice([0, 1, some, None]),
        errors=tuple(_threshold(rng) for _ in range(rng.choice([0, 0, 1, 2]))),
        retries=rng.choice([0, 0, 1, 2]),
        retry_after_s=rng.choice([60.0, 300.0]),
        retry_kinds=frozenset({ExecutionState.FAILED, ExecutionState.TIMED_OUT}),
        step_timeout_s=rng.choice([120.0, 600.0]),
        total_timeout_s=rng.choice([1200.0, 3600.0]),
        attempts_max=rng.choice([1, 3]),
        site_atomic=site_atomic,
        continuous=rng.random() < 0.15,
        gate=GateTimes(30.0, 300.0, rng.choice(["pause", "abort", "revert"]))
        if rng.random() < 0.5
        else None,
    )


def _rollout(rng: Random, policy: Policy) -> RolloutView:
    slower = BuildOffer("d" * 64, IDENTITY.model_copy(update={"runtime": "tensorrt"}))
    builds = [BuildOffer(DIGEST, IDENTITY), slower]
    rng.shuffle(builds)
    return RolloutView(RolloutState.RUNNING, 0, len(policy.waves), tuple(builds), policy)


def _pace(rng: Random) -> PacePolicy:
    base = rng.choice([0.5, 2.0, 6.0, 60.0])
    ceiling = rng.choice([None, base, base * 4])
    return PacePolicy(base, rng.choice([1.0, 1.5, 3.0]), rng.choice([1, 3]), ceiling)


def _threshold(rng: Random) -> ErrorPolicy:
    kinds = rng.sample(["FAILED", "ROLLED_BACK", "TIMED_OUT", "REJECTED", "DIVERGED"], 2)
    percent, least = rng.choice([0.0, 20.0, 50.0]), rng.choice([1, 3])
    return ErrorPolicy(frozenset(kinds), percent, least, rng.choice(["pause", "abort", "revert"]))


def _capabilities(rng: Random, edge: Edge) -> Capabilities | None:
    return UNABLE if edge.kind == "unable" else rng.choice([ABLE, ABLE, None])


def _many_sites(devices: int) -> tuple[str, ...]:
    return tuple(f"site-{number}" for number in range(max(1, devices // 20)))


def _people(rng: Random, policy: Policy) -> People:
    aborts = policy.continuous or rng.random() < 0.25
    return People(
        rng,
        abort_at=rng.randint(5, 120) if aborts else -1,
        reverts=rng.random() < 0.6,
        newer_at=rng.randint(2, 60) if rng.random() < 0.2 else -1,
        bar_at=rng.randint(2, 80) if rng.random() < 0.1 else -1,
        meddle=rng.choice([0.0, 0.01, 0.05]),
    )


def _judge(rng: Random, sees: str) -> Judge:
    """How the gate finds the build: as good, worse, not to be told apart, or now so, now so."""

    def judge(hub: Hub, wave: int) -> Verdict:
        if sees == "night" or (wave not in hub.verdicts and rng.random() < 0.5):
            return Verdict.INCONCLUSIVE
        if sees == "good":
            return Verdict.PASS
        return rng.choice(list(Verdict)) if sees == "mixed" else Verdict.FAIL

    return judge
