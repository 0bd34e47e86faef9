"""What `argosy rollout plan` and `start` ask the hub for: a file, and options that override it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.cli.client import CommandError

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
WINDOW = re.compile(
    r"(?P<cron>\S+(?:\s+\S+){4})\s+for\s+(?P<count>\d+(?:\.\d+)?)(?P<unit>[smhd])"
    r"(?:\s+(?P<zone>\S+))?"
)
THRESHOLD = re.compile(
    r"(?P<kinds>[A-Za-z_]+(?:\s*,\s*[A-Za-z_]+)*)\s*>\s*(?P<percent>[^\s%]+)\s*%"
    r"(?:\s+of\s+(?P<executed_min>\d+))?(?:\s+then\s+(?P<then>\w+))?"
)
REACTIONS = ("pause", "abort", "revert")
NESTED = ("shadow", "gates", "pace", "retries")
"""Of these an option changes the keys that it names, and leaves the file's others as they are."""

Words = list[str] | None

ModelArgument = Annotated[
    str | None, typer.Argument(help="The model whose devices are meant; or in the file.")
]
VersionArgument = Annotated[int | None, typer.Argument(help="The version to bring.")]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="YAML, as `argosy rollout template` writes it."),
]
BuildOption = Annotated[
    str | None, typer.Option(help="One build, not a version: the first digits of its digest do.")
]
WaveOption = Annotated[Words, typer.Option(help="10%, 5 or line=a; repeat.")]
DeviceOption = Annotated[Words, typer.Option(help="Only these; repeat.")]
SelectOption = Annotated[
    str | None, typer.Option(help="Only these: site=a,line in (1,2),!maintenance.")
]
SiteAtomicOption = Annotated[
    bool | None,
    typer.Option("--site-atomic/--no-site-atomic", help="All of a site at one word."),
]
NameOption = Annotated[str | None, typer.Option(help="For people.")]
RemarkOption = Annotated[str | None, typer.Option(help="Why; it goes into the journal.")]
SoakOption = Annotated[float | None, typer.Option(help="After a wave's last success.")]
SuccessOption = Annotated[float | None, typer.Option(help="For the next wave.")]
FailedOption = Annotated[int | None, typer.Option(help="More failures pause.")]
ErrorOption = Annotated[
    Words, typer.Option("--error", help='"FAILED,TIMED_OUT > 5% of 20 then abort"; repeat.')
]
RetriesOption = Annotated[int | None, typer.Option(help="Of a device that failed.")]
RetryAfterOption = Annotated[float | None, typer.Option(help="From its failure.")]
ProbationOption = Annotated[float | None, typer.Option(help="Watched after a swap.")]
StepTimeoutOption = Annotated[float | None, typer.Option(help="Without any progress.")]
TotalTimeoutOption = Annotated[float | None, typer.Option(help="For one device.")]
TimeoutOption = Annotated[float | None, typer.Option(help="What a device gives itself.")]
AttemptsOption = Annotated[int | None, typer.Option(help="Of a device that diverges.")]
ApprovalOption = Annotated[
    bool | None,
    typer.Option("--needs-approval/--no-needs-approval", help="A person lets it begin."),
]
ShadowOption = Annotated[
    str | None, typer.Option(help="Compare first: `on`, or share=0.1,frames_min=500.")
]
WindowOption = Annotated[
    str | None, typer.Option(help='Exchange only then: "0 2 * * * for 2h [Europe/Berlin]".')
]
GatesOption = Annotated[
    str | None,
    typer.Option(help="Hold each wave until it sees as well: `on`, or frames_min=1000,…"),
]
OnFailOption = Annotated[
    str | None, typer.Option(help="After a gate's FAIL: pause, abort or revert.")
]
PaceOption = Annotated[
    str | None, typer.Option(help="Devices a minute: 30, or base_per_minute=30,factor=1.5,…")
]
InFlightOption = Annotated[int | None, typer.Option(help="Devices under way at once.")]
PriorityOption = Annotated[int | None, typer.Option(help="The higher takes the slot.")]
ContinuousOption = Annotated[
    bool | None,
    typer.Option("--continuous/--no-continuous", help="Devices that come later get it too."),
]


def parse_wave(text: str) -> dict[str, Any]:
    """A wave as it is typed: `10%`, `5` (devices) or `line=a,hall in (1,2)` (a selector)."""
    if not text.endswith("%"):
        return {"count": int(text)} if text.isdecimal() else {"selector": text}
    try:
        return {"percent": float(text[:-1])}
    except ValueError as error:
        raise CommandError(f"{text!r} is no wave", "write 10%, 5 or line=a") from error


def parse_settings(text: str, what: str, example: str) -> dict[str, Any]:
    """A policy as it is typed: `on`, or those of its settings that differ, `key=value,…`."""
    if text == "on":
        return {}
    found: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not (key and equals and value):
            raise CommandError(f"{part!r} says nothing of {what}", f"write {example}")
        found[key] = _value(value)
    return found


def parse_shadow(text: str) -> dict[str, Any]:
    """A shadow as it is typed: `on`, or `share=0.1,frames_min=500`."""
    return _numbers(parse_settings(text, "a shadow", "on, or share=0.1,frames_min=500"), "shadow")


def parse_gates(text: str) -> dict[str, Any]:
    """Gates as they are typed: `on`, or `frames_min=1000,on_fail=abort`."""
    example = "on, or frames_min=1000,confidence_drop_max=0.02"
    found = parse_settings(text, "the gates", example)
    return {**_numbers({k: v for k, v in found.items() if k != "on_fail"}, "gates"), **found}


def parse_pace(text: str) -> dict[str, Any]:
    """A pace as it is typed: `30` devices a minute, or `base_per_minute=30,factor=1.5,…`."""
    if "=" not in text:
        text = f"base_per_minute={text}"
    example = "30, or base_per_minute=30,factor=1.5,after_succeeded=10,per_minute_max=200"
    return _numbers(parse_settings(text, "a pace", example), "pace")


def parse_window(text: str) -> dict[str, Any]:
    """A window as it is typed: `CRON for 2h`, and a time zone where not each site's own."""
    match = WINDOW.fullmatch(text.strip())
    if match is None:
        raise CommandError(
            f"{text!r} is no window", 'write five fields of cron: "0 2 * * * for 2h Europe/Berlin"'
        )
    seconds = float(match["count"]) * SECONDS[match["unit"]]
    return given(cron=match["cron"], duration_s=seconds, time_zone=match["zone"])


def parse_error(text: str) -> dict[str, Any]:
    """A threshold as it is typed: `FAILED,ROLLED_BACK > 5% of 20 then revert`."""
    match = THRESHOLD.fullmatch(text.strip())
    if match is None:
        raise CommandError(
            f"{text!r} is no threshold", 'write "FAILED,ROLLED_BACK > 5% of 20 then revert"'
        )
    try:
        percent = float(match["percent"])
    except ValueError as error:
        raise CommandError(f"{match['percent']!r} is no percentage", "write 5%") from error
    return given(
        kinds=[kind.strip().upper() for kind in match["kinds"].split(",")],
        percent=percent,
        executed_min=None if match["executed_min"] is None else int(match["executed_min"]),
        then=match["then"],
    )


def asked(file: Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The request's body: what the file says, and over it what the options say (None: nothing).

    Raises CommandError where the file cannot be read, or no model is named at all.
    """
    body = {} if file is None else read_file(file)
    said = given(**options)
    if "version" in said:
        body.pop("bundle_digest", None)
    if "bundle_digest" in said:
        body.pop("version", None)
    for key, value in said.items():
        inner = body.get(key)
        merges = key in NESTED and isinstance(inner, dict)
        body[key] = {**inner, **value} if merges else value  # type: ignore[dict-item]
    if not body.get("model"):
        raise CommandError(
            "no model is named", "write `argosy rollout … MODEL VERSION`, or name it in the file"
        )
    return body


def read_file(path: Path) -> dict[str, Any]:
    """The fields of a YAML file, as they are: the hub judges them. Raises CommandError."""
    from cloud.errors import InvalidError
    from cloud.rollouts.request import yaml_text

    try:
        return yaml_text.mapping(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", "name another") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is no UTF-8 text", "write it in UTF-8") from error
    except InvalidError as error:
        raise CommandError(f"{path}: {error.message}", error.remedy) from error


def rules(
    *,
    shadow: str | None,
    window: str | None,
    gates: str | None,
    on_fail: str | None,
    pace: str | None,
    error: Sequence[str] | None,
    retries: int | None,
    retry_after_s: float | None,
) -> dict[str, Any]:
    """How it is to go, of the options that are more than one value."""
    judged = None if gates is None else parse_gates(gates)
    if on_fail is not None:
        judged = {**(judged or {}), "on_fail": reaction(on_fail)}
    again = given(count=retries, after_s=retry_after_s)
    return {
        "shadow": None if shadow is None else parse_shadow(shadow),
        "window": None if window is None else parse_window(window),
        "gates": judged,
        "pace": None if pace is None else parse_pace(pace),
        "errors": [parse_error(text) for text in error] if error else None,
        "retries": again or None,
    }


def meant(
    model: str | None,
    version: int | None,
    build: str | None,
    *,
    wave: Sequence[str] | None,
    device: Sequence[str] | None,
    select: str | None,
) -> dict[str, Any]:
    """What is to go where, as the hub wants it said."""
    return {
        "model": model,
        "version": version,
        "bundle_digest": build,
        "waves": [parse_wave(text) for text in wave] if wave else None,
        "devices": list(device) if device else None,
        "selector": select,
    }


def given(**values: Any) -> dict[str, Any]:
    """What was said at all."""
    return {name: value for name, value in values.items() if value is not None}


def reaction(text: str) -> str:
    """What is to follow: one of `REACTIONS`. Raises CommandError."""
    if text not in REACTIONS:
        raise CommandError(f"{text!r} is nothing that follows", f"write {', '.join(REACTIONS)}")
    return text


def _value(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def _numbers(found: dict[str, Any], what: str) -> dict[str, Any]:
    wrong = next((key for key, value in found.items() if isinstance(value, str)), None)
    if wrong is not None:
        raise CommandError(f"{what}.{wrong}: {found[wrong]!r} is no number", "write key=number")
    return found
