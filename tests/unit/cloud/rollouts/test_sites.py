"""Sites that are exchanged at one word, where not all of them may be under way at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import (
    DeviceView,
    EndExecution,
    PacePolicy,
    Pause,
    Release,
    RolloutView,
    StartExecution,
)
from tests.simulation.rollouts.builds import DIGEST, UNABLE
from tests.unit.cloud.rollouts.views import (
    NOW,
    ROLLOUT,
    WAITING,
    S,
    device,
    done,
    flying,
    policy,
)


def atomic(**values: Any) -> RolloutView:
    return replace(ROLLOUT, policy=policy(site_atomic=True, failed_max=9, **values))


def at(site: str | None, *names: str) -> list[DeviceView]:
    return [device(name, site=site) for name in names]


def held(site: str, *names: str, state: S = S.PREPARED, **values: Any) -> list[DeviceView]:
    given = {"site": site, "held": True, "online": True, **values}
    return [flying(state, name, **given) for name in names]


def started(actions: list[Any]) -> list[str]:
    return [a.device_id for a in actions if isinstance(a, StartExecution)]


def test_a_site_begins_where_there_is_room_for_all_of_it() -> None:
    views = [*at("ulm", "a", "b"), *at("bonn", "c", "d"), WAITING]
    assert started(plan(atomic(in_flight_max=4), views, NOW)) == ["a", "b", "c", "d"]
    assert started(plan(atomic(in_flight_max=3), views, NOW)) == ["a", "b"]


def test_a_site_that_waits_for_room_is_not_overtaken() -> None:
    views = [*held("ulm", "x", "y"), *at("bonn", "a", "b"), *at("kiel", "c"), *at(None, "d")]
    moving = [replace(v, state=S.DOWNLOADING) for v in views[:2]]
    assert plan(atomic(in_flight_max=3), [*moving, *views[2:], WAITING], NOW) == []


def test_room_is_kept_for_the_rest_of_a_site_that_the_pace_lets_begin_only() -> None:
    rollout = atomic(in_flight_max=3, pace=PacePolicy(6.0))
    waiting = [*at("ulm", "b", "c"), *at(None, "d")]
    assert started(plan(rollout, [*at("ulm", "a"), *waiting, WAITING], NOW)) == ["a"]
    # The single device comes before its site in the list, and has to wait all the same.
    first = held("ulm", "a", state=S.DOWNLOADING, started_at=NOW - 11)
    views = [*first, waiting[2], *waiting[:2], WAITING]
    assert started(plan(rollout, views, NOW)) == ["b"]


def test_a_site_is_not_let_go_while_the_pace_holds_some_of_it_back() -> None:
    rollout = atomic(pace=PacePolicy(1.0))
    assert plan(rollout, [*held("ulm", "a"), *at("ulm", "b"), WAITING], NOW) == []


def test_a_device_for_which_no_build_fits_takes_no_room() -> None:
    misfit = device("m", site="ulm", capabilities=UNABLE)
    views = [misfit, *at("ulm", "a", "b"), WAITING]
    actions = plan(atomic(in_flight_max=2), views, NOW)
    assert [type(a) for a in actions] == [EndExecution, StartExecution, StartExecution]


def test_a_site_that_could_never_be_prepared_together_pauses_the_rollout() -> None:
    views = [*at("ulm", "a", "b", "c"), *at("bonn", "d"), WAITING]
    (pause,) = plan(atomic(in_flight_max=2), views, NOW)
    assert isinstance(pause, Pause)
    assert "site ulm has 3 devices" in pause.reason
    assert "in_flight_max is 2" in pause.reason


def test_who_comes_to_a_site_when_no_room_is_left_follows_it_alone() -> None:
    views = [*held("ulm", "a", "b"), *at("ulm", "late"), WAITING]
    assert plan(atomic(in_flight_max=2), views, NOW) == [Release("ulm", ("a", "b"))]
    assert started(plan(atomic(in_flight_max=3), views, NOW)) == ["late"]


def test_a_site_waits_for_whom_it_tries_again_until_the_word_is_given() -> None:
    rollout = atomic(retries=1, retry_kinds=frozenset({S.FAILED}))
    failed = done("f", S.FAILED, site="ulm", ended_at=NOW)
    assert plan(rollout, [*held("ulm", "a"), failed, WAITING], NOW) == []
    again = StartExecution("f", 2, DIGEST, hold=True)
    assert plan(rollout, [*held("ulm", "a"), failed, WAITING], NOW + 300) == [again]
    for last in ([replace(failed, attempt=2)], held("ulm", "f", attempt=2)):
        (word,) = plan(rollout, [*held("ulm", "a"), *last, WAITING], NOW)
        assert isinstance(word, Release)
    let_go = [replace(held("ulm", "a")[0], held=False, released=True)]
    alone = StartExecution("f", 2, DIGEST, hold=False)
    assert plan(rollout, [*let_go, failed, WAITING], NOW + 300) == [alone]


def test_room_is_kept_for_whom_a_site_tries_again() -> None:
    rollout = atomic(in_flight_max=2, retries=1, retry_kinds=frozenset({S.FAILED}))
    failed = done("f", S.FAILED, site="ulm", ended_at=NOW)
    views = [*held("ulm", "a"), failed, *at(None, "single"), WAITING]
    assert plan(rollout, views, NOW) == []
    assert started(plan(rollout, views, NOW + 300)) == ["f"]
