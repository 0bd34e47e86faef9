""" "Not now" from the local page, and what the page says of updates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.local.holding import ANSWER_S, HoldError, may_hold, parse
from edge_agent.update.requests import Answer, Request, RequestError
from tests.unit.edge_agent.local.views import Told, ask, get, serving

WALL = 1.8e9
HEAD = "POST /hold?slot=tiny&for_s=1800 HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def answers(ok: bool, asked: list[Request]) -> Told:
    def hold(query: str) -> Answer:
        asked.append(parse(query, WALL))
        return Answer(id="", ok=ok, text="heard")

    return Told(hold=hold)


def test_a_hold_from_this_box_is_passed_on(tmp_path: Path) -> None:
    asked: list[Request] = []
    with serving(answers(True, asked), tmp_path) as port:
        status, found = ask(port, HEAD + "X-Argosy-Hold: 1\r\n\r\n")
    assert (status, found.endswith(b"heard\n")) == (200, True)
    assert (asked[0].kind, asked[0].slot, asked[0].for_s) == ("hold", "tiny", 1800)
    assert asked[0].by == "the local page"


def test_what_the_agent_refuses_is_a_conflict(tmp_path: Path) -> None:
    with serving(answers(False, []), tmp_path) as port:
        assert ask(port, HEAD + "X-Argosy-Hold: 1\r\n\r\n")[0] == 409


def test_an_agent_that_says_nothing_is_told(tmp_path: Path) -> None:
    def hold(_query: str) -> Answer:
        raise RequestError("does it hang?")

    with serving(Told(hold=hold), tmp_path) as port:
        status, found = ask(port, HEAD + "X-Argosy-Hold: 1\r\n\r\n")
    assert (status, b"does it hang" in found) == (503, True)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD + "\r\n", 403),  # as a form of another site would send it
        (HEAD.replace("127.0.0.1", "evil.example") + "X-Argosy-Hold: 1\r\n\r\n", 421),
        (HEAD.replace("for_s=1800", "for_s=nan") + "X-Argosy-Hold: 1\r\n\r\n", 400),
        (HEAD.replace("/hold", "/status.json") + "X-Argosy-Hold: 1\r\n\r\n", 501),
        (HEAD.replace("POST", "GET") + "X-Argosy-Hold: 1\r\n\r\n", 404),
        (HEAD.replace("POST", "OPTIONS") + "\r\n", 501),
    ],
)
def test_others_change_nothing(tmp_path: Path, head: str, status: int) -> None:
    asked: list[Request] = []
    with serving(answers(True, asked), tmp_path) as port:
        assert ask(port, head)[0] == status
    assert asked == []


def test_only_this_box_may_hold() -> None:
    assert may_hold("127.0.0.1", "1")
    assert may_hold("::1", "1")
    assert not may_hold("192.168.1.7", "1")
    assert not may_hold("127.0.0.1", None)
    assert not may_hold("", "1")
    assert ANSWER_S < 5


@given(st.text(max_size=80))
def test_any_query_is_judged(query: str) -> None:
    try:
        found = parse(query, WALL)
    except HoldError as error:
        assert "for_s=1800" in str(error)
    else:
        assert found.kind in {"hold", "release"}


@pytest.mark.parametrize(
    "query",
    ["", "slot=tiny", "slot=tiny&for_s=0", "slot=tiny&for_s=inf", "slot=../x&for_s=9", "a&" * 99],
)
def test_what_is_no_hold(query: str) -> None:
    with pytest.raises(HoldError):
        parse(query, WALL)


def test_the_page_says_the_same_of_updates_as_the_status(tmp_path: Path) -> None:
    told = Told(updates={"tiny": {"veto_until": WALL, "attempt": None}})
    with serving(told, tmp_path) as port:
        slot = json.loads(get(port, "/status.json")[1])["slots"]["tiny"]
        assert slot["update"] == {"veto_until": WALL, "attempt": None}
        told.updates = {}
        assert json.loads(get(port, "/status.json")[1])["slots"]["tiny"]["update"] is None
        assert b"holding(" in get(port, "/")[1]
