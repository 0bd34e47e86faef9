"""How a rollout's devices are divided into waves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cloud.fleet.selectors import Selector, fits
from protocol.chunks import sha256_hex


@dataclass(frozen=True)
class Wave:
    """One stage; exactly one of the three is given.

    percent: up to this share of all targeted devices, with the waves before.
    count: this many further devices.
    selector: all further devices that it names.
    """

    percent: float | None = None
    count: int | None = None
    selector: Selector | None = None


@dataclass(frozen=True)
class Target:
    """A device that the rollout is meant for, with what selectors look at.

    site: where it has to go together with others; None where it goes alone.
    """

    device_id: str
    attributes: dict[str, str] = field(default_factory=dict)
    site: str | None = None


def assign(
    waves: Sequence[Wave],
    targets: Iterable[Target],
    seed: str,
    groups: Mapping[str, Selector] | None = None,
) -> list[tuple[str, ...]]:
    """Device ids for each wave; every target is in exactly one.

    The order is a hash of `seed` (the rollout's id) and the device id: the same each
    time for one rollout, and another for the next, so that not always the same devices
    go first. What the given waves leave over forms a last wave. A wave by percent or count
    that takes one device of a site takes all that are left of it, and grows by them.
    """

    def order(target: Target) -> tuple[str, str]:
        alone = sha256_hex(f"{seed}/{target.device_id}".encode())
        together = alone if target.site is None else sha256_hex(f"{seed}//{target.site}".encode())
        return together, alone

    waiting = sorted(targets, key=order)
    total = len(waiting)
    assigned: list[tuple[str, ...]] = []
    for wave in waves:
        chosen = _choose(wave, waiting, total, groups or {})
        ids = {target.device_id for target in chosen}
        waiting = [target for target in waiting if target.device_id not in ids]
        assigned.append(tuple(target.device_id for target in chosen))
    if waiting:
        assigned.append(tuple(target.device_id for target in waiting))
    return assigned


def _choose(
    wave: Wave, waiting: list[Target], total: int, groups: Mapping[str, Selector]
) -> list[Target]:
    if wave.selector is not None:
        return [t for t in waiting if fits(wave.selector, t.attributes, groups)]
    if wave.count is not None:
        asked = wave.count
    else:
        gone = total - len(waiting)
        asked = max(0, math.ceil(total * (wave.percent or 0) / 100) - gone)
    return waiting[: _whole(waiting, asked)]


def _whole(waiting: Sequence[Target], asked: int) -> int:
    """How many of `waiting`, in which sites stand together, such that no site is divided."""
    taken = min(asked, len(waiting))
    while 0 < taken < len(waiting) and waiting[taken].site is not None:
        if waiting[taken].site != waiting[taken - 1].site:
            break
        taken += 1
    return taken
