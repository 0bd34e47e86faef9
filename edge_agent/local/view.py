"""What the local pages may see of the agent, and the document they make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.ledger import Account
from edge_agent.local.figures import CameraFigures
from edge_agent.results import FrameResult
from edge_agent.update.requests import Answer
from protocol.messages import CameraReported, Health
from protocol.states import BEFORE_EXCHANGE

_NOT_EXCHANGED = frozenset(state.value for state in BEFORE_EXCHANGE)

Counters = Mapping[str, int]


@dataclass(frozen=True)
class Zone:
    """An area to draw: corners as (x, y) in shares of the picture, as rules have them."""

    name: str
    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class View:
    """The agent as its own box may see it; each part may be called by any thread.

    Attributes:
        cameras: the report of each camera, by id.
        account: a camera's frames by fate.
        figures: a camera's rates and durations.
        slots: the bundle that each slot serves, by name.
        latest: a camera's last result, for its picture.
        errors: the last error of each slot's detector, where there was one.
        counters: of link, outbox, updates and sinks, by name.
        channels: the counters of each output to the line, by its id.
        problems: why an output's other end is not reached, by its id; absent where it is.
        lost_classes: classes that a rule or shelf names and no model has, by its id.
        stuck: slots whose inference has not moved for too long.
        link_up: whether the hub's broker is connected.
        zones: what rules and shelves watch in a camera's picture.
        updates: what the disk says of each slot's update (`update.account.slot_account`).
        hold: say "not now" by the query of a request, and what the agent says to it; it may
            raise EdgeError.
    """

    device: str
    version: str
    cameras: Callable[[], Mapping[str, CameraReported]]
    account: Callable[[str], Account]
    figures: Callable[[str], CameraFigures]
    slots: Callable[[], Mapping[str, LoadedBundle | None]]
    latest: Callable[[str], FrameResult | None]
    errors: Callable[[], Mapping[str, str]]
    counters: Callable[[], Counters]
    health: Callable[[], Health]
    stuck: Callable[[], tuple[str, ...]]
    link_up: Callable[[], bool]
    channels: Callable[[], Mapping[str, Counters]] = field(default=dict)
    problems: Callable[[], Mapping[str, str]] = field(default=dict)
    lost_classes: Callable[[], Mapping[str, tuple[str, ...]]] = field(default=dict)
    zones: Callable[[str], tuple[Zone, ...]] = field(default=lambda _camera: ())
    updates: Callable[[], Mapping[str, Mapping[str, Any]]] = field(default=dict)
    hold: Callable[[str], Answer] | None = None


def document(view: View) -> dict[str, Any]:
    """The whole state as JSON can carry it; unknown is null. Holds no secret."""
    stuck, updates = view.stuck(), view.updates()
    return {
        "device": view.device,
        "version": view.version,
        "healthy": not stuck,
        "stuck_slots": list(stuck),
        "blind_slots": blind_slots(view),
        "doubtful_slots": doubtful_slots(view),
        "link_up": view.link_up(),
        "cameras": {name: _camera(view, name, c) for name, c in view.cameras().items()},
        "slots": {
            name: _slot(view, name, b) | {"update": dict(updates.get(name, {})) or None}
            for name, b in view.slots().items()
        },
        "health": view.health().model_dump(mode="json"),
        "counters": dict(view.counters()),
        "channels": {name: dict(c) for name, c in view.channels().items()},
        "channel_problems": dict(view.problems()),
        "lost_classes": {name: list(c) for name, c in view.lost_classes().items()},
    }


def blind_slots(view: View) -> list[str]:
    """Slots that have had a bundle and serve none: what was committed cannot."""
    updates = view.updates()
    blind = [name for name, bundle in view.slots().items() if bundle is None]
    return [name for name in blind if updates.get(name, {}).get("committed")]


def doubtful_slots(view: View) -> dict[str, str]:
    """Slots that do not serve what they should, in words: a version that is revoked, another
    bundle than was committed, because that cannot, or nothing yet."""
    updates, found = view.updates(), {}
    for name, bundle in view.slots().items():
        told = updates.get(name, {})
        if bundle is None and not told.get("committed"):
            found[name] = "it waits for its first model"
        if bundle is None or not told:
            continue
        model, version = bundle.manifest.model, bundle.manifest.version
        attempt = told.get("attempt")
        # An attempt that has exchanged something may serve what is not committed.
        settled = attempt is None or attempt["over"] or attempt["state"] in _NOT_EXCHANGED
        if version < (told.get("floor") or 1):
            found[name] = f"{model} v{version} serves and is revoked"
        elif settled and bundle.digest != told.get("committed"):
            found[name] = f"{model} v{version} serves because what was committed cannot"
    return found


def _camera(view: View, name: str, reported: CameraReported) -> dict[str, Any]:
    account, figures = view.account(name), view.figures(name)
    return {
        **reported.model_dump(mode="json"),
        "results_per_s": _rounded(figures.results_per_s),
        "latency_ms": _rounded(figures.latency.mean_ms()),
        "age_ms": _rounded(figures.age.mean_ms()),
        "captured": account.captured,
        "inferred": account.inferred,
        "dropped": account.dropped,
        "in_flight": account.in_flight,
        "unreadable": account.unreadable,
        "served": figures.served,
    }


def _slot(view: View, name: str, bundle: LoadedBundle | None) -> dict[str, Any]:
    error = view.errors().get(name)
    if bundle is None:
        return {"digest": None, "model": None, "version": None, "error": error}
    build = bundle.manifest.build
    return {
        "digest": bundle.digest,
        "model": bundle.manifest.model,
        "version": bundle.manifest.version,
        "runtime": build.runtime,
        "precision": build.runtime_precision.value,
        "error": error,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
