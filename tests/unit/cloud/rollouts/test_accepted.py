"""Whatever is accepted as a rollout is planned without a fault, or refused by field and remedy."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud.cli.rollout_plan import print_plan
from cloud.errors import HubError
from cloud.rollouts import service
from cloud.rollouts.request.spec import RolloutCreate
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, Hub

SELECTORS = st.sampled_from(["", "line=a", "line=b", "!line", "device in (dev-1,dev-3)", "a=b=c"])
PERCENTS = st.sampled_from([1.0, 16.0, 50.0, 99.0, 100.0])
SECONDS = st.sampled_from([0.001, 9.0, 60.0, 3600.0, 90_000.0, 30 * 86_400.0])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


WAVES = st.one_of(
    some(percent=PERCENTS, success_percent=PERCENTS, gated=st.booleans()),
    some(count=st.integers(1, 7), soak_s=SECONDS, needs_approval=st.booleans()),
    some(selector=SELECTORS, gated=st.booleans()),
)
ERRORS = some(
    kinds=st.lists(st.sampled_from(["FAILED", "REJECTED"]), min_size=1, max_size=2),
    percent=PERCENTS,
    executed_min=st.integers(1, 7),
    then=st.sampled_from(["pause", "abort", "revert"]),
)
PACES = some(
    base_per_minute=st.sampled_from([1e-300, 1e-3, 0.5, 9.0, 1e5]),
    factor=st.sampled_from([1.0, 1.001, 10.0]),
    after_succeeded=st.sampled_from([1, 3, 100_000]),
    per_minute_max=st.sampled_from([1e-3, 9.0, 1e5]),
)
WINDOWS = st.fixed_dictionaries(
    {
        "cron": st.sampled_from(["0 2 * * *", "0 0 29 2 *", "* * * * *", "0 0 30 2 *"]),
        "duration_s": SECONDS,
    }
)
GATES = some(
    confidence_drop_max=st.sampled_from([0.0, 0.1, 1.0]),
    confidence_harm_min=st.sampled_from([0.0, 0.1, 1.0]),
    every_s=SECONDS.filter(lambda s: s <= 86_400),
    deadline_s=SECONDS,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "selector": SELECTORS,
    "devices": st.lists(st.sampled_from(["dev-0", "dev-4", "shelf"]), max_size=2),
    "waves": st.lists(WAVES, max_size=3),
    "pace": PACES,
    "in_flight_max": st.integers(1, 7),
    "success_percent": PERCENTS,
    "failed_max": st.sampled_from([None, 0, 2, 9]),
    "errors": st.lists(ERRORS, max_size=2),
    "retries": some(count=st.integers(0, 4)),
    "attempts_max": st.integers(1, 5),
    "probation_s": SECONDS.filter(lambda s: s <= 86_400),
    "step_timeout_s": SECONDS,
    "total_timeout_s": SECONDS,
    "timeout_s": SECONDS,
    "shadow": some(duration_max_s=SECONDS.filter(lambda s: s <= 86_400)),
    "window": WINDOWS,
    "site_atomic": st.booleans(),
    "continuous": st.booleans(),
    "gates": st.one_of(st.none(), GATES),
    "bundle_digest": st.sampled_from([DIGESTS[2][:6], DIGESTS[2], "9" * 64, "", "zz"]),
}
ASKED = st.sets(st.sampled_from(sorted(FIELDS)), max_size=4).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
)
"""A few fields at once: of many, one would nearly always be refused."""


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(asked=ASKED)
def test_whatever_is_accepted_is_planned_or_refused_by_field(
    hub: Hub, asked: dict[str, Any]
) -> None:
    try:
        named = {} if "bundle_digest" in asked else {"version": 1}
        body = RolloutCreate.model_validate({"model": "caps", **named, **asked})
        with hub.database.reading() as session:
            plan = service.preview(session, ADMIN, body)
    except ValidationError:
        return
    except HubError as error:
        assert ": " in error.message
        assert error.remedy
        return
    assert plan.count == sum(wave.devices for wave in plan.waves)
    assert all(wave.gated <= (body.gates is not None) for wave in plan.waves)
    print_plan(plan.model_dump(mode="json"))
