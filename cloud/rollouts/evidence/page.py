"""A rollout's evidence as a page for people, drawn from its record alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloud.pages import environment
from cloud.plain_text import shown
from cloud.rollouts.evidence import plots

TEMPLATE_FILE = "rollout.html"
ITEMS_SHOWN = 20
ENTRIES_SHOWN = 300

WORDS: Mapping[str, str] = {
    "SUCCEEDED": "Every device got the new version.",
    "PARTIAL": "Some devices got the new version.",
    "FAILED": "No device got the new version.",
    "REVERTED": "It was taken back: none of its devices is to run the build any more.",
    "STOPPED": "It was stopped before its end.",
    "IN_PROGRESS": "It has not ended yet.",
}
FINDING_WORDS = {
    "HOLDS": "as good",
    "HARM": "worse",
    "UNSHOWN": "not known",
    "REPORTED": "for information",
}
AMOUNTS = ("frames", "detections", "cameras")
COUNTED = (*AMOUNTS, "restarts", "overrides")
"""Kinds of a gate's components that say how much there was, and that are whole numbers."""


def render(record: Mapping[str, Any]) -> str:
    """The page of a record: one file, no script, nothing loaded from elsewhere."""
    made = environment(Path(__file__).parent)
    made.filters["moment"] = moment
    made.filters["span"] = span
    made.filters["wave"] = wave_words
    made.filters["finding"] = finding_words
    made.filters["plain"] = lambda text: shown(str(text))
    return made.get_template(TEMPLATE_FILE).render(
        record=record,
        words=WORDS[record["verdict"]],
        counted=COUNTED,
        items_shown=ITEMS_SHOWN,
        entries=record["journal"][-ENTRIES_SHOWN:],
        over_time=plots.over_time(record),
        looks=plots.looks(record),
        spec_text=_spec_text(record["spec"]),
        gates=[_gate(look) for look in deciding(record)],
    )


def deciding(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The last look of each wave, with the figures that its verdict rests on."""
    figures = {
        (look["wave"], look["look"]): look["figures"]
        for look in record["gates"]
        if look["figures"] is not None
    }
    last = {look["wave"]: look for look in record["gates"]}
    return [{**look, "figures": figures[wave, look["figures_of"]]} for wave, look in last.items()]


def _gate(look: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **look,
        "margins": plots.margins(look["figures"]),
        "cameras": plots.cameras(look["figures"]),
    }


def finding_words(component: Mapping[str, Any]) -> str:
    """What a gate found of one figure."""
    if component["kind"] in AMOUNTS:
        return "enough" if component["finding"] == "HOLDS" else "too little"
    return FINDING_WORDS.get(component["finding"], str(component["finding"]))


def _spec_text(spec: Mapping[str, Any]) -> str:
    """The rules as YAML, without what was left out."""
    import yaml

    given = {key: value for key, value in spec.items() if value not in (None, [], {}, "")}
    given["waves"] = [
        {key: value for key, value in wave.items() if value is not None} for wave in spec["waves"]
    ]
    return str(yaml.safe_dump(given, sort_keys=False, allow_unicode=True))


def moment(at: float | None) -> str:
    """A time as the page shows it, in UTC."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def span(seconds: float | None) -> str:
    """A duration in words of its size."""
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} days"


def wave_words(rule: Mapping[str, Any]) -> str:
    """A wave as it was asked for."""
    if rule.get("percent") is not None:
        return f"up to {rule['percent']:g} %"
    if rule.get("count") is not None:
        return f"{rule['count']} device{'' if rule['count'] == 1 else 's'}"
    return str(rule.get("selector"))
