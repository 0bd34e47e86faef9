"""Check: the hub answers by HTTP, knows this device, and agrees on the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from edge_agent.config import AgentConfig, ConfigError
from edge_agent.doctor.finding import Box, Finding, advice, ok, problem

CLOCK_OFF_S_MAX = 5.0
TIMEOUT_S = 5.0
UNKNOWN_TOKEN = (401, 403)


def check(box: Box) -> Iterator[Finding]:
    if box.config is not None:
        yield from _ask(box.config)


def judge(url: str, status: int, clock_off_s: float | None) -> Iterator[Finding]:
    """`status`: of the answer to this device's token; `clock_off_s`: ours minus the hub's."""
    if status in UNKNOWN_TOKEN:
        yield problem(
            f"{url} does not accept this device's token ({status})",
            "enrol the device again: argosy device enrol",
        )
    elif not 200 <= status < 300:
        yield problem(f"{url} answers {status}", "check hub.url, and the hub's log")
    else:
        yield ok(f"{url} answers and knows this device")
    if clock_off_s is not None and abs(clock_off_s) > CLOCK_OFF_S_MAX:
        yield advice(
            f"this clock is {abs(clock_off_s):.0f} s {'ahead of' if clock_off_s > 0 else 'behind'}"
            " the hub's",
            "install a time service on both: apt install systemd-timesyncd (or chrony)",
        )


def clock_off_s(date: str | None, now_s: float) -> float | None:
    """How far `now_s` (Unix) is from an HTTP Date; None where that says nothing."""
    if date is None:
        return None
    try:
        return now_s - parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return None


def _ask(config: AgentConfig) -> Iterator[Finding]:
    import httpx

    from edge_agent.link.http import trust

    hub = config.hub
    url = hub.url.rstrip("/")
    try:
        token = hub.read_token()
        answer = httpx.get(
            f"{url}/api/v1/device/link",
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            proxy=hub.proxy,
            verify=True if hub.ca_file is None else trust(hub.ca_file),
            trust_env=False,
        )
    except ConfigError as error:
        yield problem(str(error), "enrol the device again: argosy device enrol")
    except httpx.HTTPError as error:
        yield problem(
            f"{url} does not answer: {error or type(error).__name__}",
            "check hub.url, hub.ca_file, the network and the hub",
        )
    else:
        yield from judge(
            url, answer.status_code, clock_off_s(answer.headers.get("Date"), time.time())
        )
