"""`argosy broker`: access rules and passwords for an external Mosquitto."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from cloud.cli.client import CommandError
from cloud.cli.output import print_json
from cloud.files import write_private
from protocol.topics import (
    HUB_USERNAME,
    ROOT_DEFAULT,
    TopicSpace,
    mosquitto_acl,
    valid_device_id,
)

PASSWORD_BYTES = 24
SALT_BYTES = 12
ITERATIONS = 25_000  # a password here is random: slow hashing would only slow reconnects

broker = typer.Typer(help="Access rules and passwords for Mosquitto.", no_args_is_help=True)


@broker.command("acl")
def acl(
    root: Annotated[str, typer.Option(help="The topics' root.")] = ROOT_DEFAULT,
) -> None:
    """Print the access rules: a device reads what is meant for it and writes as itself."""
    typer.echo(mosquitto_acl(TopicSpace(root)), nl=False)


@broker.command("passwords")
def passwords(
    file: Annotated[Path, typer.Argument(help="Mosquitto's password file; made where missing.")],
    users: Annotated[list[str], typer.Argument(help="`hub`, and device ids.")],
) -> None:
    """Give each user a new random password; they are printed, as JSON, this once.

    Other users' entries stay. The file is its owner's alone: give it to
    the user that Mosquitto runs as. Mosquitto reads it anew on SIGHUP.
    """
    wrong = [user for user in users if user != HUB_USERNAME and not valid_device_id(user)]
    if wrong:
        raise CommandError(
            f"{wrong[0]!r} is no user name", "use 1 to 64 letters, digits, '.', '_', '-'"
        )
    entries = _read(file)
    given = {user: secrets.token_urlsafe(PASSWORD_BYTES) for user in users}
    for user, text in given.items():
        entries[user] = mosquitto_hash(text, os.urandom(SALT_BYTES))
    write_private(file, "".join(f"{user}:{entry}\n" for user, entry in sorted(entries.items())))
    print_json(given)


def mosquitto_hash(password: str, salt: bytes) -> str:
    """The password as Mosquitto 2 keeps it: PBKDF2 with SHA-512."""
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    salted, hashed = base64.b64encode(salt).decode(), base64.b64encode(key).decode()
    return f"$7${ITERATIONS}${salted}${hashed}"


def _read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    lines = [line for line in file.read_text().splitlines() if line.strip()]
    bad = [number for number, line in enumerate(lines, 1) if ":" not in line]
    if bad:
        raise CommandError(f"{file}:{bad[0]} is no entry user:hash", "name the right file")
    return dict(line.split(":", 1) for line in lines)
