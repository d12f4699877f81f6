"""`whisper-lambda keys`: who may use the server. A running server sees changes at once."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whisper_lambda.cli.terminal import say

if TYPE_CHECKING:
    from whisper_lambda.http.keys import Key, KeyFile

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the server's API keys.")

_File = Annotated[Path | None, typer.Option("--keys", metavar="FILE", help="File of the API keys.")]
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


@app.command("add")
def add(
    tenant: Annotated[str, typer.Argument(metavar="NAME", help="Whose key: a person, a program, a team.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help="transcribe, jobs, admin, metrics; may be repeated."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="SPAN", help="Ends after 30d, 12h, 45m.")
    ] = None,
    concurrent: Annotated[
        int | None, typer.Option("--concurrent", metavar="N", help="Most requests at once.")
    ] = None,
    per_minute: Annotated[
        int | None, typer.Option("--per-minute", metavar="N", help="Most requests a minute.")
    ] = None,
    audio_s_per_day: Annotated[
        float | None,
        typer.Option("--audio-s-per-day", metavar="SECONDS", help="Most seconds of audio a day."),
    ] = None,
    keys: _File = None,
) -> None:
    """Make a key and print it: this once, it is kept nowhere.

    The key alone goes to stdout, so that it can be piped into a secret store.
    """
    from whisper_lambda.http.keys import DEFAULT_SCOPES, new_key

    now = time.time()
    text, key = new_key(
        tenant,
        now,
        scopes=scope or DEFAULT_SCOPES,
        expires=None if expires is None else now + _seconds(expires),
        concurrent=concurrent,
        per_minute=per_minute,
        audio_s_per_day=audio_s_per_day,
    )
    file = _door(keys)
    file.add(key)
    typer.echo(text)
    say(f"key {key.id} of {key.tenant} ({', '.join(key.scopes)}) is in {file.path}; it is not shown again")


@app.command("list")
def list_keys(keys: _File = None) -> None:
    """List every key but its text."""
    now, listed = time.time(), _door(keys).listed()
    if not listed:
        say("there are no keys; `whisper-lambda keys add` makes one")
    for key in listed:
        state = "revoked" if key.revoked else "live" if key.live(now) else "expired"
        until = f"until {_date(key.expires)}" if key.expires else "for ever"
        typer.echo(
            f"{key.id}  {state:7}  {key.tenant}  {','.join(key.scopes)}  made {_date(key.created)}, {until}"
            f"{_limits(key)}"
        )


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The eight digits `keys list` shows.")],
    keys: _File = None,
) -> None:
    """Close a key for ever; a running server refuses it from its next request on."""
    key = _door(keys).revoke(key_id, time.time())
    say(f"key {key.id} of {key.tenant} is revoked")


@app.command("export")
def export(keys: _File = None) -> None:
    """Print the live keys in one line, for WHISPER_LAMBDA_KEYS: hashes, no keys."""
    from whisper_lambda.http.keys import exported

    now = time.time()
    typer.echo(exported(key for key in _door(keys).listed() if key.live(now)))


def _door(path: Path | None) -> KeyFile:
    from whisper_lambda.config import Settings
    from whisper_lambda.http.keys import KeyFile, key_file

    return KeyFile(path) if path else key_file(Settings.from_env())


def _seconds(span: str) -> float:
    from whisper_lambda.errors import BadOption

    match = re.fullmatch(r"([0-9]{1,9})([mhd])", span)
    if not match:
        raise BadOption(f"--expires is a number and m, h or d, such as 30d, not {span!r}")
    return int(match[1]) * _UNITS[match[2]]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _limits(key: Key) -> str:
    told = {
        "at once": key.concurrent,
        "a minute": key.per_minute,
        "s of audio a day": key.audio_s_per_day,
    }
    return "".join(f", {value:g} {name}" for name, value in told.items() if value is not None)
