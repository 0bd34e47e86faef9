"""`python -m tests.benchmarks [prefix,…]`: measure, write bench.json and docs/benchmarks.md."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import tests.benchmarks
from tests.benchmarks.harness import Bench, Unavailable, machine

DOCS = Path("docs/benchmarks.md")


def discover() -> dict[str, Bench]:
    """All rows of all bench_* modules, by name."""
    benches: dict[str, Bench] = {}
    for module in sorted(pkgutil.iter_modules(tests.benchmarks.__path__), key=lambda m: m.name):
        if module.name.startswith("bench_"):
            found = importlib.import_module(f"tests.benchmarks.{module.name}")
            benches.update(found.BENCHES)
    return benches


def select(benches: dict[str, Bench], only: str) -> dict[str, Bench]:
    """The rows whose name starts with one of the comma-separated prefixes of `only`."""
    prefixes = [p.strip() for p in only.split(",") if p.strip()]
    return {n: b for n, b in benches.items() if not prefixes or n.startswith(tuple(prefixes))}


def measure(benches: dict[str, Bench], console: Console) -> list[dict[str, Any]]:
    """Run the benches one by one; what cannot run here is a row without a value."""
    rows: list[dict[str, Any]] = []
    for place, (name, bench) in enumerate(benches.items(), start=1):
        console.print(f"[{place}/{len(benches)}] {name} …")
        started = time.monotonic()
        try:
            result = asdict(bench())
        except Unavailable as reason:
            result = {"name": name, "value": None, "unit": "", "goal": "", "holds": None}
            result["detail"] = {"not_measured": str(reason)}
            console.print(f"    {reason}")
        result["detail"]["took_s"] = round(time.monotonic() - started, 1)
        result["detail"]["machine"] = machine()
        rows.append(result)
        console.print(f"    {_figure(result)}  goal {result['goal']}  {_verdict(result)}")
    return rows


def merge(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an earlier run that this one did not repeat, with this one's, by name."""
    earlier = json.loads(path.read_text()) if path.exists() else []
    by_name = {r["name"]: r for r in earlier} | {r["name"]: r for r in rows}
    return [by_name[name] for name in sorted(by_name)]


def revised(text: str, rows: list[dict[str, Any]]) -> str:
    """docs/benchmarks.md with the figures and notes of `rows` in the place of their older ones.

    What other runs measured and what was written by hand stays; a row that could not be
    measured this time takes no earlier figure away.
    """
    lines = text.splitlines()
    for result in rows:
        key = f"`{result['name']}`"
        if result["value"] is None and any(line.startswith(f"| {key}") for line in lines):
            continue
        figures = f" | {_figure(result)} | {result['goal'] or '-'} | {_verdict(result)} |"
        lines = _placed(lines, f"| {key}", figures)
        note = result["detail"].get("note")
        lines = _placed(lines, f"- {key}", f": {note}" if note else None)
    return "\n".join(lines) + "\n"


def _placed(lines: list[str], key: str, words: str | None) -> list[str]:
    """`lines` with `key` and `words` at its place among its sorted kind, or without it."""
    others = [line for line in lines if not line.startswith(key)]
    if words is None:
        return others
    kind = [place for place, line in enumerate(others) if line.startswith(key[:3])]
    smaller = [place for place in kind if others[place] < key]
    place = smaller[-1] + 1 if smaller else kind[0] if kind else len(others)
    return [*others[:place], key + words, *others[place:]]


def _figure(result: dict[str, Any]) -> str:
    if result["value"] is None:
        return "not measured"
    return f"{result['value']:.3g} {result['unit']}".strip()


def _verdict(result: dict[str, Any]) -> str:
    return {True: "yes", False: "**no**", None: "-"}[result["holds"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="prefixes of row names, by comma")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--docs", type=Path, default=DOCS)
    arguments = parser.parse_args()
    console = Console()
    chosen = select(discover(), arguments.only)
    if not chosen:
        console.print(f"no row begins with {arguments.only!r}; there are: {', '.join(discover())}")
        return 2
    measured = measure(chosen, console)
    rows = merge(arguments.out, measured)
    arguments.out.write_text(json.dumps(rows, indent=2) + "\n")
    text = (arguments.docs if arguments.docs.exists() else DOCS).read_text()
    arguments.docs.write_text(revised(text, measured))
    table = Table("row", "figure", "goal", "holds")
    for result in rows:
        table.add_row(result["name"], _figure(result), result["goal"], _verdict(result))
    console.print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
