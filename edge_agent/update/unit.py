"""One slot with all that updates it, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.config import Limits
from edge_agent.detect.options import LoadOptions
from edge_agent.dice import Dice
from edge_agent.observe.service import ServiceSink
from edge_agent.store import Store
from edge_agent.update.acquire import Acquire, AcquireContext
from edge_agent.update.boot import Boot
from edge_agent.update.by_hand import Return, ReturnContext, ReturnEnded
from edge_agent.update.comparing import Comparing
from edge_agent.update.deriving import Deriving
from edge_agent.update.exchange import Exchange
from edge_agent.update.fetch import Transport
from edge_agent.update.history import history_of, remember
from edge_agent.update.judging import Judging
from edge_agent.update.load import Loader
from edge_agent.update.memory import give_back
from edge_agent.update.probation import SlotHealth
from edge_agent.update.proving import Proving
from edge_agent.update.reference import detections_per_frame
from edge_agent.update.retention import Needs
from edge_agent.update.shadowing import Shadowing
from edge_agent.update.slot import Slot
from edge_agent.update.standing import was_left
from edge_agent.update.states import UpdateRecord
from edge_agent.update.step_parts import SlotParts, StepContext, StepEnded
from edge_agent.update.steps import SlotSteps
from edge_agent.update.turned import Turned
from edge_agent.update.updater import Updater
from edge_agent.update.updater_ports import UpdaterPorts
from edge_agent.update.watch import Watch
from protocol.builds import Capabilities
from protocol.messages import ExecutionReport


@dataclass(frozen=True)
class SlotPorts:
    """What the updates need of the rest of the agent.

    Attributes:
        submit: run a blocking job on the updates' worker.
        renew: give that worker another thread, as its job hangs.
        rescue: run one at once, whatever the updates' worker is busy with.
        deliver: bring its end to the agent's thread.
        tell: keep a slot's transition by its number; False where the disk refused.
        told: the number of a slot's last transition that was kept.
        alert: tell the hub, by a name and in words.
        turned: tell it that another bundle took over in a slot; False where the disk refused.
        changed: what is reported has changed.
        health: frames of a slot's cameras since the start.
        options: how a slot's bundles are loaded.
        service, shadowing: the sinks that watch what serves, and compare a candidate with it.
        monotonic, wall: the clocks (s).
        rng: the jitter of retries.
    """

    transport: Transport
    submit: Callable[[Callable[[], None]], None]
    renew: Callable[[], None]
    rescue: Callable[[Callable[[], None]], None]
    deliver: Callable[[StepEnded | ReturnEnded], object]
    tell: Callable[[str, int, ExecutionReport], bool]
    told: Callable[[str], int]
    alert: Callable[[str, str], None]
    turned: Callable[[str, Turned], bool]
    changed: Callable[[], None]
    health: Callable[[str], SlotHealth]
    options: Callable[[str], LoadOptions]
    capabilities: Callable[[], Capabilities]
    service: ServiceSink
    shadowing: Shadowing
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    rng: Dice


@dataclass(frozen=True)
class Shared:
    """What the units of all slots share.

    Attributes:
        needs: what must stay on the disk, now.
        prune: remove what nothing pins.
        damaged: a bundle on the disk is damaged, and is to be repaired; from any thread.
        veto_until: until when a slot's attempt is vetoed at a time on the wall; None: it is not.
    """

    store: Store
    limits: Limits
    judging: Judging
    ports: SlotPorts
    counters: Counter[str]
    needs: Callable[[], Needs]
    prune: Callable[[], None]
    damaged: Callable[[str], None]
    veto_until: Callable[[str, UpdateRecord, float], float | None]


@dataclass(frozen=True)
class Unit:
    """One slot with its updater."""

    slot: Slot
    exchange: Exchange
    deriving: Deriving
    boot: Boot
    steps: SlotSteps
    updater: Updater
    back: Return


def build_unit(slot: Slot, shared: Shared) -> Unit:
    """Put a slot's unit together; nothing is loaded or begun yet."""
    store, limits, judging, ports = shared.store, shared.limits, shared.judging, shared.ports
    name, bundles = slot.name, shared.judging.bundles
    exchange = Exchange(slot, store)
    deriving = Deriving(judging, lambda: shared.needs().pinned)
    loader = Loader(bundles, ports.options(name), limits)
    steps = SlotSteps(
        name,
        SlotParts(
            acquire=Acquire(name, _acquire_context(shared)),
            exchange=exchange,
            loader=loader,
            deriving=deriving,
            proving=Proving(bundles, loader, limits),
            comparing=Comparing(name, ports.shadowing),
            watch=Watch(
                name,
                ports.service,
                lambda: ports.health(name),
                lambda: exchange.running,
                limits,
                expected=lambda digest: detections_per_frame(bundles.path(digest)),
            ),
        ),
        StepContext(
            limits=limits,
            judging=judging,
            submit=ports.submit,
            renew=ports.renew,
            rescue=ports.rescue,
            deliver=ports.deliver,
            prune=shared.prune,
            veto_until=shared.veto_until,
            damaged=shared.damaged,
            left=lambda wanted: was_left(history_of(name, store), wanted),
        ),
    )
    returns = ReturnContext(store, judging, ports.rescue, ports.deliver, ports.alert, ports.turned)
    boot = Boot(name, store, judging, loader)

    def rests() -> bool:
        return boot.passed_over and exchange.running is None

    updater_ports = _updater_ports(name, shared, rests, boot.why_not)
    return Unit(
        slot=slot,
        exchange=exchange,
        deriving=deriving,
        boot=boot,
        steps=steps,
        updater=Updater(name, store, steps, limits, updater_ports),
        back=Return(name, exchange, loader, returns),
    )


def _acquire_context(shared: Shared) -> AcquireContext:
    return AcquireContext(
        store=shared.store,
        bundles=shared.judging.bundles,
        transport=shared.ports.transport,
        limits=shared.limits,
        judging=shared.judging,
        needs=shared.needs,
        counters=shared.counters,
    )


def _give_back() -> None:
    give_back()


def _updater_ports(
    slot: str, shared: Shared, rests: Callable[[], bool], passed_over: Callable[[str], str]
) -> UpdaterPorts:
    ports = shared.ports

    def ended(record: UpdateRecord) -> bool:
        kept = remember(shared.store, slot, record, shared.limits)
        shared.prune()  # it may be what makes the room that was lacking
        if kept:
            ports.submit(_give_back)
        return kept

    return UpdaterPorts(
        tell=lambda number, report: ports.tell(slot, number, report),
        told=lambda: ports.told(slot),
        ended=ended,
        changed=ports.changed,
        rests=rests,
        passed_over=passed_over,
        rng=ports.rng,
    )
