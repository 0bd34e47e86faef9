"""A rollout as it goes on: waves as bars, the pace, the open gate's figures, who is asked what."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cloud.cli.client import HubClient
from cloud.cli.rollout_gate import VERDICT_STYLES, figure_table
from cloud.cli.rollout_plan import EXIT_NOT_ON_ALL
from cloud.cli.watching import left, percent_step
from cloud.plain_text import shown

POLL_S = 0.5
REST_FACTOR = 4.0
"""A large rollout is asked for less often: by so many times as long as the hub takes to answer."""
REASON_CHARACTERS_MAX = 400
BAR_CELLS = 40
ASKING_MAX = 10
PACE_SPAN_S = 600.0
PACE_SPAN_S_MIN = 5.0
MOVING = frozenset({"CREATING", "READY", "RUNNING", "STOPPING"})
BAD_WORDS = frozenset({"FAILED", "ROLLED_BACK", "TIMED_OUT", "REJECTED", "NOT_REVERTED"})
PASSED_OVER_WORDS = frozenset({"NO_ARTIFACT", "SUPERSEDED", "CANCELED"})
ENDED_WORDS = BAD_WORDS | PASSED_OVER_WORDS | {"SUCCEEDED", "REVERTED"}
_COLOURS: Mapping[str, str] = {"SUCCEEDED": "green", "REVERTED": "magenta"}
QUESTIONS: Mapping[str, str] = {
    "APPROVAL": "whether the rollout may begin",
    "WAVE": "whether the next wave may begin",
    "GATE": "whether the wave may pass, for its gate cannot tell",
}


@dataclass
class Tempo:
    """How fast devices end, from what was seen of them while watching."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def see(self, now: float, ended: int) -> None:
        """Note that `ended` devices have ended at `now` (seconds of a clock that only rises)."""
        self.seen.append((now, ended))
        while now - self.seen[0][0] > PACE_SPAN_S:
            self.seen.popleft()

    def per_minute(self) -> float | None:
        """Devices a minute; None where too little was seen yet, or none ended."""
        if not self.seen:
            return None
        (begin, first), (end, last) = self.seen[0], self.seen[-1]
        if end - begin < PACE_SPAN_S_MIN or last <= first:
            return None
        return 60 * (last - first) / (end - begin)


class News:
    """What is new, in lines, for what is no terminal: a file, a pipe, a CI log."""

    def __init__(self) -> None:
        self._reached: tuple[str, int] | None = None
        self._told: set[str] = set()

    def of(self, rollout: dict[str, Any], gate: dict[str, Any] | None) -> list[str]:
        """How far it is, where that is another state, wave or tenth; a look at the gate and
        whoever is asked, where it was not said before."""
        found = []
        total, ended = sum(wave["devices"] for wave in rollout["waves"]), _ended(rollout)
        reached = (_headline(rollout).plain, percent_step(ended, total))
        if reached != self._reached:
            place = f"wave {rollout['wave'] + 1} of {len(rollout['waves'])}"
            words = ", ".join(f"{n} {word}" for word, n in sorted(_counts(rollout).items()))
            found.append(f"{reached[0]} · {place} · {ended} of {total} devices have ended: {words}")
        others = [str(line) for line in (*_verdict(gate), *_asking(rollout, gate))]
        found += [line for line in others if line not in self._told]
        self._reached, self._told = reached, set(others)
        return found


def stay(client: HubClient, rollout_id: str, *, as_json: bool) -> None:
    """Show the rollout until it moves no more by itself.

    Raises:
        CommandError: the hub does not answer any more.
        typer.Exit: not every device got the build, or somebody pressed Ctrl-C.
    """
    rollout: dict[str, Any] = {}
    tempo = Tempo()
    with left(f"the rollout goes on; `argosy rollout watch {rollout_id}` shows it"):
        if as_json:
            for rollout, gate in _changes(client, rollout_id, tempo):
                typer.echo(json.dumps({**rollout, "gate": gate}))
        elif (console := Console()).is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                for rollout, gate in _changes(client, rollout_id, tempo):
                    live.update(picture(rollout, gate, tempo), refresh=True)
        else:
            news = News()
            for rollout, gate in _changes(client, rollout_id, tempo):
                for line in news.of(rollout, gate):
                    typer.echo(f"{time.strftime('%H:%M:%S')} {line}")
    if rollout["outcome"] != "SUCCEEDED":
        raise typer.Exit(EXIT_NOT_ON_ALL)


def _changes(
    client: HubClient, rollout_id: str, tempo: Tempo
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """The rollout and its open gate, now and after each change, until it moves no more."""
    last: tuple[dict[str, Any], dict[str, Any] | None] | None = None
    took_s = 0.0
    while last is None or last[0]["state"] in MOVING:
        if last is not None:
            time.sleep(max(POLL_S, REST_FACTOR * took_s))
        asked_at = time.monotonic()
        rollout = client.get(f"rollouts/{rollout_id}")
        tempo.see(asked_at, _ended(rollout))
        found = (rollout, open_gate(client, rollout, last and last[1]))
        took_s = time.monotonic() - asked_at
        if found != last:
            yield found
        last = found


def open_gate(
    client: HubClient, rollout: dict[str, Any], known: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """The last look at the open wave's gate; None where none holds it or nobody has looked.

    known: a look that was read before; earlier ones are not asked for again.
    """
    wave = rollout["wave"]
    if rollout["spec"].get("gates") is None or not rollout["waves"][wave]["gated"]:
        return None
    # A list is read from behind its cursor: the known look comes again, for it may be answered.
    again = known is not None and known["wave"] == wave
    cursor = f"{wave}:{known['look'] - 1}" if again and known is not None else None
    last = None
    while True:
        found = client.get(f"rollouts/{rollout['id']}/gates", wave=wave, cursor=cursor)
        last = found["items"][-1] if found["items"] else last
        cursor = found["next"]
        if cursor is None:
            return last


def picture(
    rollout: dict[str, Any], gate: dict[str, Any] | None = None, tempo: Tempo | None = None
) -> Group:
    """The rollout as a headline and a bar for each wave, and what there is to say of it."""
    waves = Table(show_header=False, box=None)
    for number, wave in enumerate(rollout["waves"]):
        opened = "▸" if number == rollout["wave"] and rollout["state"] in MOVING else " "
        words = ", ".join(f"{count} {word}" for word, count in sorted(wave["counts"].items()))
        waves.add_row(opened, f"wave {number + 1}", _bar(wave), f"{wave['devices']}", words)
    lines = [*_going(rollout, tempo), *_gate(gate), *_asking(rollout, gate)]
    return Group(_headline(rollout), waves, *lines)


def _headline(rollout: dict[str, Any]) -> Text:
    outcome = f" · {rollout['outcome']}" if rollout["outcome"] else ""
    headline = Text(f"{shown(rollout['name'])}  {rollout['state']}{outcome}", style="bold")
    if rollout["reverting"]:
        headline.append("  going back", style="magenta")
    if rollout["reason"]:
        headline.append(f"  {shown(rollout['reason'])}", style="not bold yellow")
    return headline


def _counts(rollout: dict[str, Any]) -> Counter[str]:
    """Devices of all waves, by the word for where they are."""
    found: Counter[str] = Counter()
    for wave in rollout["waves"]:
        found.update(wave["counts"])
    return found


def _ended(rollout: dict[str, Any]) -> int:
    return sum(n for word, n in _counts(rollout).items() if word in ENDED_WORDS)


def _going(rollout: dict[str, Any], tempo: Tempo | None) -> list[Text]:
    """How far it is, how fast, and how long it takes if nothing holds it."""
    if tempo is None or rollout["state"] not in MOVING:
        return []
    total = sum(wave["devices"] for wave in rollout["waves"])
    ended = _ended(rollout)
    words = [f"{ended} of {total} devices have ended"]
    rate = tempo.per_minute()
    if rate is not None:
        words.append(f"{rate:.3g} a minute")
        rest_s = 60 * (total - ended) / rate + _waits_s(rollout)
        words.append(f"about {_minutes(rest_s)} if nothing holds it")
    return [Text(" · ".join(words), style="dim")]


def _waits_s(rollout: dict[str, Any]) -> float:
    """How long the open wave and those after it soak, but for the last one's gate."""
    spec = rollout["spec"]
    waves = rollout["waves"][rollout["wave"] :]
    soaks = [wave.get("soak_s") for wave in waves]
    own = spec.get("soak_s", 0.0)
    return float(sum(own if soak is None else soak for soak in soaks))


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _gate(gate: dict[str, Any] | None) -> list[Text | Table]:
    """The open wave's verdict, and each figure against its margin."""
    return [] if gate is None else [*_verdict(gate), figure_table(gate["figures"])]


def _verdict(gate: dict[str, Any] | None) -> list[Text]:
    if gate is None:
        return []
    style = VERDICT_STYLES.get(gate["verdict"], "")
    line = Text(f"gate of wave {gate['wave'] + 1}, look {gate['look']}: ")
    line.append(gate["verdict"], style=style)
    reason = shown(gate["reason"])
    cut = len(reason) > REASON_CHARACTERS_MAX
    line.append(f"  {reason[: REASON_CHARACTERS_MAX - 1]}…" if cut else f"  {reason}")
    if gate["answered_by"]:
        line.append(f"  {shown(gate['answered_by'])} let it pass", style="yellow")
    return [line]


def _asking(rollout: dict[str, Any], gate: dict[str, Any] | None) -> list[Text]:
    """A line for each thing that a person is asked, with the command that answers."""
    lines = []
    asks = rollout["asks"]
    if asks:
        said = (
            f"an approver is asked {QUESTIONS.get(asks, asks)}: "
            f"`argosy rollout approve {rollout['id']} --remark …`, "
            f"or `argosy rollout abort {rollout['id']} --revert`"
        )
        lines.append(Text(said, style="yellow"))
    elif rollout["state"] == "PAUSED":
        said = (
            f"it is paused: `argosy rollout resume {rollout['id']}` acknowledges the failures and "
            f"goes on, `argosy rollout abort {rollout['id']} --revert` takes it back"
        )
        if gate is not None and gate["verdict"] == "FAIL" and not gate["answered_by"]:
            force = f"`argosy rollout force {rollout['id']} --remark …`"
            said += f"; its gate says FAIL and pauses it again, but after {force}"
        lines.append(Text(said, style="yellow"))
    asking = [e for e in rollout["executions"] if e["waits_for"] and e["shadow"] == "INCONCLUSIVE"]
    lines += [
        Text(
            f"{shown(e['device'])} waits for {e['waits_for']}; "
            f"`argosy rollout accept {rollout['id']} --device {shown(e['device'])}` lets it go on",
            style="yellow",
        )
        for e in asking[:ASKING_MAX]
    ]
    if len(asking) > ASKING_MAX:
        lines.append(Text(f"… and {len(asking) - ASKING_MAX} more wait so", style="yellow"))
    return lines


def _bar(wave: dict[str, Any]) -> Text:
    """Green: have it; magenta: are back at what they had; red: failed; grey: passed over; yellow:
    under way; dots: waiting."""
    shares = {"green": 0, "magenta": 0, "red": 0, "bright_black": 0, "yellow": 0}
    for word, count in wave["counts"].items():
        if word != "QUEUED":
            shares[_colour(word)] += count
    bar, reached, drawn = Text(), 0, 0
    for colour, count in shares.items():
        reached += count
        upto = round(BAR_CELLS * reached / max(1, wave["devices"]))
        bar.append("█" * (upto - drawn), style=colour)
        drawn = upto
    return bar.append("·" * (BAR_CELLS - drawn), style="bright_black")


def _colour(word: str) -> str:
    if word in _COLOURS:
        return _COLOURS[word]
    if word in BAD_WORDS:
        return "red"
    return "bright_black" if word in PASSED_OVER_WORDS else "yellow"
