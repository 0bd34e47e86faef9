"""Why somebody did something by hand: one length for every command and request that asks."""

from __future__ import annotations

from cloud.errors import InvalidError

REASON_CHARACTERS_MIN = 3
REASON_CHARACTERS_MAX = 500

REASON_HELP = f"in {REASON_CHARACTERS_MIN} characters or more"
"""For `--help`."""


def check_reason(reason: str, otherwise: str, *, needed: bool = True) -> None:
    """Whether a reason says anything; spaces around it do not count.

    Args:
        otherwise: what does not happen without it, in words.
        needed: False: there may be none, but what there is must say something.

    Raises:
        InvalidError: it is missing or too short; the message names the least length.
    """
    characters = len(reason.strip())
    if characters == 0 and needed:
        raise InvalidError(
            f"{otherwise} without a reason",
            f"say --reason …, {REASON_HELP} (at most {REASON_CHARACTERS_MAX})",
        )
    if 0 < characters < REASON_CHARACTERS_MIN:
        raise InvalidError(
            f"{otherwise}: a reason has at least {REASON_CHARACTERS_MIN} characters, and "
            f"{reason.strip()!r} has {characters}",
            f"say --reason …, {REASON_HELP}",
        )
