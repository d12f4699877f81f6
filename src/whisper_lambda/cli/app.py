"""The table of commands. A command's module is imported only when that command is called."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import whisper_lambda


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command lives, and the line about it in the list of commands."""

    module: str
    name: str  # a function, or a Typer of several
    summary: str


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "transcribe": Command(
            "whisper_lambda.cli.transcribe_typer", "app", "Write down what is said in recordings."
        ),
        "live": Command(
            "whisper_lambda.cli.live", "live", "Write down what is being said: microphone, file or PCM."
        ),
        "serve": Command("whisper_lambda.cli.serve", "serve", "Answer over HTTP: our API and OpenAI's."),
        "lambda-local": Command(
            "whisper_lambda.cli.lambda_local", "lambda_local", "Run the AWS Lambda function on this machine."
        ),
        "jobs": Command("whisper_lambda.cli.jobs", "app", "Hand in recordings and ask after them."),
        "worker": Command(
            "whisper_lambda.cli.worker", "worker", "Do jobs from a queue shared with other machines."
        ),
        "keys": Command("whisper_lambda.cli.keys", "app", "Make, list and revoke the server's API keys."),
        "cache": Command(
            "whisper_lambda.cli.cache", "app", "Show and empty the memory of what recordings said."
        ),
        "models": Command("whisper_lambda.cli.models", "app", "List, fetch, verify and remove weights."),
        "deploy": Command(
            "whisper_lambda.cli.deploy", "app", "Run on AWS Lambda, in an account of your own."
        ),
        "doctor": Command(
            "whisper_lambda.cli.doctor", "doctor", "Say what this machine can do and what is wrong."
        ),
        "compare": Command(
            "whisper_lambda.cli.compare", "compare", "Compare a saved OpenAI answer with ours."
        ),
        "cost": Command("whisper_lambda.cli.cost", "app", "Reckon what transcription costs on Lambda."),
        "tune": Command("whisper_lambda.cli.tune", "tune", "Find the memory size a function should have."),
        "evaluate": Command(
            "whisper_lambda.cli.evaluate",
            "evaluate",
            "Score transcripts against known words (WER, CER, RTF).",
        ),
        "bench": Command(
            "whisper_lambda.cli.bench", "bench", "Measure speed and memory against other programs."
        ),
    }
)


class Commands(TyperGroup):
    """A group that knows its commands' names and imports only the one that is called.

    `whisper-lambda --help` then costs no NumPy, and `transcribe` no benchmark library.
    """

    def __init__(self, **attrs: Any) -> None:  # noqa: ANN401 - whatever typer passes on
        super().__init__(**attrs)
        self.commands = {
            name: TyperCommand(name, help=command.summary)
            for name, command in COMMANDS.items()
            if find_spec(command.module)
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer's types are private
        """Find the command named by the first argument, and only now import it."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, (_flowing(_imported(name)) if name is not None else stub), rest


def _flowing(command: Any) -> Any:  # noqa: ANN401 - typer's types are private
    """Return the command, its help broken into lines by the terminal and no more by our source."""
    command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.help or ""))
    for below in getattr(command, "commands", {}).values():
        _flowing(below)
    return command


def _imported(name: str) -> object:
    where = COMMANDS[name]
    found = getattr(import_module(where.module), where.name)
    alone = (
        isinstance(found, typer.Typer)
        and found.registered_callback is None
        and not found.registered_groups
        and len(found.registered_commands) == 1
    )
    if alone:
        command = get_command(found)
        command.name = name
        return command
    holder = typer.Typer(cls=TyperGroup, add_completion=False)
    holder.callback()(lambda: None)  # makes it a group, however few commands it has
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    group = get_command(holder)
    assert isinstance(group, TyperGroup)
    return group.commands[name]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"whisper-lambda {whisper_lambda.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Whisper transcription: recordings in, words out, on your own machine.",
    epilog="Start with: whisper-lambda transcribe talk.mp3",
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Whisper transcription: recordings in, words out, on your own machine."""
