"""What a person decides is told with who, when and why, wherever a verdict is shown."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cloud.access.principal import Role
from cloud.cli import client as cli_client
from cloud.cli.build import builds
from cloud.cli.client import CommandError, HubClient
from cloud.cli.model import models
from cloud.cli.promote import promotion
from cloud.cli.version import versions
from cloud.errors import InvalidError
from cloud.reasons import REASON_CHARACTERS_MIN, check_reason
from cloud.registry import service
from cloud.tracking.content import _build_text
from tests.unit.cloud.conftest import Api
from tests.unit.cloud.registry.conftest import ADA, CLASSES, Registry

CLI = CliRunner(env={"COLUMNS": "300"})
SHORT = "no"


@pytest.fixture
def digests(api: Api, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """By their state: the admitted build of a version, and the rejected one."""
    made = Registry(api.hub.database, api.hub.blobs)
    with made.database.transaction() as session:
        service.create_model(session, ADA, "caps", CLASSES)
    version, first = made.register(1, verdict={"admitted": True, "reasons": []})
    made.register(2, parent=1)
    spoiled = made.add(version, admitted=False, precision="int8")
    http = api.acting(Role.ADMINISTRATOR)
    client = HubClient("http://hub", api.token(Role.ADMINISTRATOR), transport=http._transport)
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    return {first.state: first.digest, spoiled.state: spoiled.digest}


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_rejection_by_hand_is_shown_everywhere(digests: dict[str, str]) -> None:
    digest, before = digests["EVALUATED"], time.time()
    CLI.invoke(builds, ["reject", digest, "--reason", "misses scratches"])
    verdict = said(CLI.invoke(builds, ["show", digest, "--json"]))["verdict"]
    assert verdict["admitted"] is True
    assert before <= verdict["by_hand"].pop("at") <= time.time()
    assert verdict["by_hand"] == {
        "by": "somebody",
        "outcome": "REJECTED",
        "reason": "misses scratches",
    }
    for shown in (
        CLI.invoke(builds, ["show", digest]),
        CLI.invoke(builds, ["list", "caps", "1"]),
        CLI.invoke(versions, ["show", "caps", "1"]),
        CLI.invoke(versions, ["card", "caps", "1"]),
    ):
        assert "REJECTED by somebody on 2" in shown.output, shown.output
        assert "UTC: misses scratches (evaluation: admitted)" in shown.output


def test_a_build_that_was_reinstated_says_what_the_evaluation_held_against_it(
    digests: dict[str, str],
) -> None:
    digest = digests["REJECTED"]
    CLI.invoke(builds, ["reinstate", digest, "--reason", "labels were wrong"])
    for shown in (
        CLI.invoke(builds, ["show", digest]),
        CLI.invoke(versions, ["card", "caps", "1"]),
    ):
        assert "ADMITTED by somebody on 2" in shown.output
        assert "labels were wrong (evaluation: rejected: mAP50 fell by 0.2)" in shown.output
    CLI.invoke(builds, ["reject", digest, "--reason", "they were right"])
    verdict = said(CLI.invoke(builds, ["show", digest, "--json"]))["verdict"]
    assert verdict["by_hand"]["reason"] == "they were right"
    assert verdict["reasons"] == ["mAP50 fell by 0.2"]


def test_a_move_of_the_floor_is_history_with_its_reason(digests: dict[str, str]) -> None:
    assert digests
    CLI.invoke(models, ["floor", "caps", "2", "--reason", "v1 is recalled"])
    (entry,) = said(CLI.invoke(models, ["history", "caps", "--json"]))
    assert (entry["kind"], entry["previous"], entry["number"]) == ("floor", 1, 2)
    assert (entry["by"], entry["reason"]) == ("somebody", "v1 is recalled")
    shown = CLI.invoke(models, ["history", "caps"]).output
    assert "floor moved" in shown
    assert "was v1; v1 is recalled" in shown


def test_every_reason_that_is_too_short_is_told_the_least_length(digests: dict[str, str]) -> None:
    build = digests["EVALUATED"]
    for commands, words in (
        (builds, ["reject", build]),
        (builds, ["reinstate", digests["REJECTED"]]),
        (models, ["floor", "caps", "2"]),
        (models, ["alias", "set", "caps", "production", "1"]),
        (models, ["alias", "set", "caps", "candidate", "1"]),
        (promotion, ["start", "caps", "1", "--force"]),
    ):
        refused = CLI.invoke(commands, [*words, "--reason", SHORT]).exception
        assert isinstance(refused, CommandError), words
        assert f"at least {REASON_CHARACTERS_MIN} characters, and 'no' has 2" in refused.message
        help_text = " ".join(CLI.invoke(commands, [*words[:-1], "--help"]).output.split())
        assert f"in {REASON_CHARACTERS_MIN} characters or more" in help_text, words


def test_the_mirrored_tag_of_a_build_has_the_decision_too(
    api: Api, digests: dict[str, str]
) -> None:
    CLI.invoke(builds, ["reject", digests["EVALUATED"], "--reason", "misses scratches"])
    with api.hub.database.reading() as session:
        found = [service.get_build(session, ADA, digest) for digest in digests.values()]
        tags = [json.loads(_build_text(build)) for build in found]
    assert tags[0]["by_hand"]["reason"] == "misses scratches"
    assert (tags[0]["admitted"], tags[0]["state"]) == (True, "REJECTED")
    assert "by_hand" not in tags[1]


def test_a_reason_that_is_not_asked_for_may_be_missing() -> None:
    check_reason("", "nothing moves", needed=False)
    check_reason("why", "nothing moves")
    for reason in ("", "  "):
        with pytest.raises(InvalidError, match="nothing moves without a reason"):
            check_reason(reason, "nothing moves")
