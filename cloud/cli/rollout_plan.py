"""Who would get which build: what `argosy rollout plan` prints, and `start` warns of."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from cloud.cli.output import print_table
from cloud.plain_text import shown

EXIT_NOT_ON_ALL = 3
WARNED_MAX = 10
DEVICES_SHOWN = 50
WAVE_COLUMNS = ("wave", "takes", "devices", "no_artifact", "unheard", "offline", "opens", "gate")
DEVICE_COLUMNS = ("device", "wave", "target", "digest", "fallbacks", "reason")


def print_plan(plan: dict[str, Any]) -> None:
    """Waves and builds with their counts, then the devices, those without a build first."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{plan['model']} v{plan['version']}: {plan['count']} devices, "
        f"{plan['no_artifact']} without a build, {plan['unheard']} never heard of, "
        f"{plan['offline']} offline, {plan['pinned_count']} pinned and left out",
    )
    print_table(map(_wave_row, range(len(plan["waves"])), plan["waves"]), WAVE_COLUMNS)
    print_table(plan["builds"], ("target", "digest", "devices"))
    print_table(map(_device_row, plan["devices"][:DEVICES_SHOWN]), DEVICE_COLUMNS)
    if plan["count"] > DEVICES_SHOWN:
        console.print(f"… and {plan['count'] - DEVICES_SHOWN} devices more; --json names them")
    if plan["pinned"]:
        columns = ("device", "version", "digest", "by", "remark")
        print_table(plan["pinned"][:DEVICES_SHOWN], columns)
    warn(plan)


def warn(plan: dict[str, Any]) -> None:
    """Say on standard error which devices will get nothing, and what may be meant otherwise."""
    without = [device for device in plan["devices"] if device["digest"] is None]
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for doubt in plan["doubts"]:
        console.print(Text(doubt, style="yellow"))
    for device in without[:WARNED_MAX]:
        text = f"NO_ARTIFACT for {shown(device['device'])}: {shown(device['reason'])}"
        console.print(Text(text, style="yellow"))
    told = min(len(without), WARNED_MAX)
    if plan["no_artifact"] > told:
        console.print(Text(f"… and for {plan['no_artifact'] - told} more", style="yellow"))


def wave_words(wave: dict[str, Any]) -> str:
    """A wave as it was asked for."""
    if wave.get("percent") is not None:
        return f"up to {wave['percent']:g} %"
    return "the next ones" if wave.get("selector") is None else str(wave["selector"])


def _wave_row(number: int, wave: dict[str, Any]) -> dict[str, Any]:
    return {
        **wave,
        "wave": number + 1,
        "takes": wave_words(wave),
        "opens": "when approved" if wave["needs_approval"] else "",
        "gate": "judges it" if wave["gated"] else "",
    }


def _device_row(device: dict[str, Any]) -> dict[str, Any]:
    why = [] if device["reason"] == device["target"] else [device["reason"]]
    why += [] if device["heard"] else ["it never said what it can run"]
    return {
        **device,
        "wave": device["wave"] + 1,
        "target": device["target"] or "NO_ARTIFACT",
        "fallbacks": len(device["fallbacks"]),
        "reason": "; ".join(why),
    }
