"""House rules as code: a rule without a check is broken within weeks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocol", "edge_agent", "cloud", "simulators")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

FLEET_LINK_MODULES = {"edge_agent/link/mqtt.py", "cloud/ingress.py"}
# The broker beside the line is no part of the fleet: its topics, its rules and what it may lose
# are others, so it has a client of its own, which the mqtt and sparkplug channels share.
LINE_BROKER_MODULES = {"edge_agent/outputs/mqtt.py"}
CORE_MODULES = (
    "protocol/**/*.py",
    "**/states.py",
    "edge_agent/backoff.py",
    "edge_agent/cameras/watchdog.py",
    "edge_agent/harvest/scores.py",
    "edge_agent/harvest/sampler.py",
    "edge_agent/config_errors.py",
    "edge_agent/config_lines.py",
    "edge_agent/local/liveness.py",
    "edge_agent/observe/series.py",
    "edge_agent/observe/service.py",
    "edge_agent/observe/windows.py",
    "edge_agent/rules/*.py",
    "edge_agent/track/*.py",
    "edge_agent/update/boot_guard.py",
    "edge_agent/update/pace.py",
    "edge_agent/update/probation.py",
    "edge_agent/update/download.py",
    "edge_agent/update/download_pace.py",
    "edge_agent/update/floors.py",
    "edge_agent/update/golden.py",
    "edge_agent/update/retention.py",
    "edge_agent/update/shadow.py",
    "edge_agent/update/trust.py",
    "edge_agent/update/waiting.py",
    "cloud/building/targets.py",
    "cloud/evaluation/average_precision.py",
    "cloud/evaluation/curves.py",
    "cloud/evaluation/diagnosis.py",
    "cloud/evaluation/matching.py",
    "cloud/evaluation/parity.py",
    "cloud/evaluation/report.py",
    "cloud/evaluation/slices.py",
    "cloud/evaluation/thresholds.py",
    "cloud/evaluation/tolerance.py",
    "cloud/fleet/selectors.py",
    "cloud/promotion/gate.py",
    "cloud/registry/resolution.py",
    "cloud/rollouts/request/contradictions.py",
    "cloud/rollouts/planning/ending.py",
    "cloud/rollouts/planning/gate_steps.py",
    "cloud/rollouts/planning/pace.py",
    "cloud/rollouts/gating/comparing.py",
    "cloud/rollouts/gating/component.py",
    "cloud/rollouts/gating/counts.py",
    "cloud/rollouts/gating/evidence.py",
    "cloud/rollouts/gating/figures.py",
    "cloud/rollouts/gating/resampling.py",
    "cloud/rollouts/gating/simulation.py",
    "cloud/rollouts/gating/judging.py",
    "cloud/rollouts/evidence/deviations.py",
    "cloud/rollouts/planning/planner.py",
    "cloud/rollouts/evidence/progress.py",
    "cloud/rollouts/evidence/record.py",
    "cloud/rollouts/planning/ranking.py",
    "cloud/rollouts/planning/reverting.py",
    "cloud/rollouts/planning/sites.py",
    "cloud/rollouts/planning/starting.py",
    "cloud/rollouts/planning/tally.py",
    "cloud/rollouts/planning/thresholds.py",
    "cloud/rollouts/planning/waves.py",
    "cloud/telemetry/sequences.py",
    "cloud/tracking/content.py",
    "cloud/tracking/curve.py",
    "simulators/passages.py",
)
CLOCKS_AND_DICE = {"time", "random", "secrets", "uuid"}
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "common.py", "misc.py", "util.py"}
LIGHT_MODULES = ("protocol/**/*.py", "edge_agent/**/*.py", "cloud/cli/**/*.py")
HEAVY_LIBRARIES = {"torch", "torchvision", "ultralytics"}
SLICE_FILES = {"__init__.py", "models.py", "schemas.py", "queries.py", "service.py", "router.py"}
SLICES = ("access", "blobs", "jobs", "fleet", "annotation", "datasets", "registry", "training")
SLICES_ABOVE = ("evaluation", "promotion", "tracking", "telemetry", "rollouts")

TOPIC_TEXT = re.compile(
    r"argosy/v1/|^devices/[^/]*/|^(blobs|trust)/[^/]+$|"
    r"/(desired|reported|presence|telemetry|events|acks|wants)$"
)


def sources(*folders: str) -> list[Path]:
    found = [p for folder in folders for p in (ROOT / folder).rglob("*.py")]
    return sorted(p for p in found if "__pycache__" not in p.parts)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def imported_at_top(module: ast.Module) -> set[str]:
    body: list[ast.stmt] = [n for n in module.body if isinstance(n, ast.Import | ast.ImportFrom)]
    top = ast.Module(body=body, type_ignores=[])
    return set(imported(top))


def texts(module: ast.Module) -> Iterator[str]:
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation
        ):
            yield node.value


def core_modules() -> list[Path]:
    found = {p for pattern in CORE_MODULES for p in ROOT.glob(pattern)}
    return sorted(p for p in found if p.relative_to(ROOT).parts[0] in PACKAGES)


def test_every_core_pattern_names_a_file() -> None:
    assert [p for p in CORE_MODULES if not list(ROOT.glob(p))] == []


def test_files_stay_short() -> None:
    long = {name(p): len(p.read_text().splitlines()) for p in sources(*PACKAGES, "tests")}
    assert {n: lines for n, lines in long.items() if lines > FILE_LINES_MAX} == {}


def test_functions_stay_short() -> None:
    long = {
        f"{name(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in sources(*PACKAGES, "tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {n: lines for n, lines in long.items() if lines > FUNCTION_LINES_MAX} == {}


def test_no_drawer_modules() -> None:
    assert [name(p) for p in sources(*PACKAGES, "tests") if p.name in FORBIDDEN_NAMES] == []


def test_the_fleet_link_is_one_module_on_each_side() -> None:
    users = {name(p) for p in sources("edge_agent", "cloud") if "paho" in imported(tree(p))}
    assert users == FLEET_LINK_MODULES | LINE_BROKER_MODULES


def test_topics_are_spelled_in_one_place() -> None:
    spelled = [
        (name(path), text)
        for path in sources(*PACKAGES)
        if name(path) != "protocol/topics.py"
        for text in texts(tree(path))
        if TOPIC_TEXT.search(text) and not text.startswith(("/", "http"))
    ]
    assert spelled == []


def test_the_hub_commits_in_one_module() -> None:
    committers = {
        name(path)
        for path in sources("cloud")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "commit"
    }
    assert committers == {"cloud/database.py"}


def test_selects_live_in_query_files() -> None:
    selectors = {
        name(path)
        for path in sources("cloud")
        if "migrations" not in path.parts
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "select"
    }
    assert {s for s in selectors if not s.endswith("/queries.py")} == set()


@pytest.mark.parametrize("slice_name", SLICES + SLICES_ABOVE)
def test_slices_hold_the_same_files(slice_name: str) -> None:
    there = {p.name for p in (ROOT / "cloud" / slice_name).glob("*.py")}
    assert there >= SLICE_FILES


@pytest.mark.parametrize("path", core_modules(), ids=name)
def test_core_modules_take_clock_and_dice_as_arguments(path: Path) -> None:
    assert set(imported(tree(path))) & CLOCKS_AND_DICE == set()


def test_light_modules_do_not_import_heavy_libraries() -> None:
    found = [
        name(path)
        for pattern in LIGHT_MODULES
        for path in ROOT.glob(pattern)
        if imported_at_top(tree(path)) & HEAVY_LIBRARIES
    ]
    assert found == []
    assert not [p for p in sources("edge_agent") if HEAVY_LIBRARIES & set(imported(tree(p)))]


def test_nothing_reads_the_environment_at_import() -> None:
    readers = [
        name(path)
        for path in sources(*PACKAGES)
        for node in tree(path).body
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and inner.attr in {"environ", "getenv"}
    ]
    assert readers == []


def test_nothing_is_unfinished_or_silenced() -> None:
    marks = re.compile(
        r"\bTO" + r"DO\b|\bFIX" + r"ME\b|NotImplemented" + r"Error|type: ignore\s*$|"
        r"except Exception:\s*pass|except:\s*$",
        re.MULTILINE,
    )
    found = [name(p) for p in sources(*PACKAGES, "tests") if marks.search(p.read_text())]
    assert found == []
