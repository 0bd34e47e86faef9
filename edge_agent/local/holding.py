"""The line's "not now" from the local page: the same request as `argosy-agent hold` leaves.

Only a client on this box may say it, and only with a header that a page of elsewhere cannot
send without being asked first, which is not answered.
"""

from __future__ import annotations

import ipaddress
import secrets
from pathlib import Path
from urllib.parse import parse_qs

from edge_agent.errors import EdgeError
from edge_agent.update.requests import HOLD_S_MAX, Answer, Kind, Request, await_answer, leave

PATH = "/hold"
HEADER = "X-Argosy-Hold"
ANSWER_S = 3.0
BY = "the local page"
REMEDY = "ask for /hold?slot=NAME&for_s=1800, or /hold?slot=NAME&release=1"


class HoldError(EdgeError):
    """A hold that cannot be asked for; the text says how to."""


def may_hold(client: str, header: str | None) -> bool:
    """Whether a client, by its address and the header's value, may say "not now"."""
    try:
        return header is not None and ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


def parse(query: str, wall: float) -> Request:
    """The request of `slot=S&for_s=1800` or `slot=S&release=1`. Raises HoldError."""
    try:
        fields = parse_qs(query, max_num_fields=8)
        slot, for_s, release = (fields.get(f, [""])[-1] for f in ("slot", "for_s", "release"))
        kind: Kind = "release" if release else "hold"
        seconds = 0.0 if release else float(for_s)
        if release or 0 < seconds <= HOLD_S_MAX:
            return Request(
                id=secrets.token_hex(16),
                kind=kind,
                slot=slot,
                asked_at=wall,
                for_s=seconds,
                by=BY,
            )
    except ValueError as error:
        raise HoldError(REMEDY) from error
    raise HoldError(REMEDY)


def ask(data_dir: Path, request: Request) -> Answer:
    """What the agent says to it. Raises EdgeError where it cannot be asked or says nothing."""
    leave(data_dir, request)
    return await_answer(data_dir, request, ANSWER_S)
