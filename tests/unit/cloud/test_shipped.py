"""How a run of the agent ends: refused by it, or cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud.children import ChildFailed
from cloud.shipped import BundleRefused, ShippedRunner
from tests.fixtures.shipped import agent


def ended(text: str, work: Path) -> ChildFailed:
    with pytest.raises(ChildFailed) as failed:
        agent(text).run(work / "bundle", [], work)
    return failed.value


def test_an_error_of_the_agents_own_refuses_the_bundle(tmp_path: Path) -> None:
    said = "print('loading'); print('argosy-agent: model.onnx answered with NaN\\nat once');"
    found = ended(f"import sys; {said} sys.exit(2)", tmp_path)
    assert isinstance(found, BundleRefused)
    assert str(found) == "model.onnx answered with NaN at once"


@pytest.mark.parametrize(
    "text",
    [
        "import sys; print('argosy-agent: interrupted'); sys.exit(130)",
        "import sys; print('Usage: argosy-agent evaluate'); sys.exit(2)",
        "import os; print('argosy-agent: x', flush=True); os.kill(os.getpid(), 9)",
    ],
    ids=["interrupted", "usage", "killed"],
)
def test_other_ends_are_worth_another_attempt(tmp_path: Path, text: str) -> None:
    assert not isinstance(ended(text, tmp_path), BundleRefused)


def test_the_agent_itself_ends_so_where_there_is_no_bundle(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"")
    with pytest.raises(BundleRefused) as refused:
        ShippedRunner().run(tmp_path / "none", [image], tmp_path / "work")
    assert "status" not in str(refused.value)
    assert str(refused.value)
