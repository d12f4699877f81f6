"""The command line: argv in, an exit code out.

0 all went well, 1 a file failed, 2 the command line is wrong, 130 interrupted (143 terminated).
Transcripts alone go to stdout; all that is said about them goes to stderr.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from whisper_lambda.cli.terminal import Terminated, open_streams, say, utf8_streams

if TYPE_CHECKING:
    from whisper_lambda.bootstrap import Service
    from whisper_lambda.config import Settings

__all__ = ["main", "run"]


def main(*, build: Callable[[Settings], Service] | None = None) -> NoReturn:
    """Run the command line of this process, and end it at once.

    Not `sys.exit`: CTranslate2 and ONNX Runtime in one process can deadlock while the interpreter
    winds down, and after Ctrl-C nobody should wait for a decode that cannot be interrupted.
    """
    signal.signal(signal.SIGTERM, _terminate)
    open_streams()
    code = run(sys.argv[1:], build=build)
    for out in (sys.stdout, sys.stderr):
        try:
            out.flush()
        except OSError:  # the reader has left; there is nobody to tell
            code = code or 1
    os._exit(code)


def run(args: Sequence[str], *, build: Callable[[Settings], Service] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        args: argv without the program's name.
        build: gives the Service; None = `bootstrap.build`.
    """
    utf8_streams()
    debug = "--debug" in args
    try:
        return _invoked(list(args) or ["--help"], build)
    except BrokenPipeError:  # `| head` has seen enough: no more to say, and nothing went wrong here
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as failure:
        if debug:
            traceback.print_exc()
        named = f"{failure.filename}: " if failure.filename else ""
        say(f"error: {named}{failure.strerror or failure} (file_error)")
        return 1
    except Terminated as stop:
        return stop.code
    except Exception as failure:  # noqa: BLE001 - the outermost edge: a user gets a sentence, not a traceback
        if debug:
            traceback.print_exc()
        else:
            say(f"error: unexpected {type(failure).__name__}: {failure} (--debug shows where)")
        return 1


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage meanwhile: importing makes a million objects and none."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _invoked(args: list[str], build: Callable[[Settings], Service] | None) -> int:
    """Run the command; complaints leave as one or two plain lines."""
    from whisper_lambda.config import WrongSetting
    from whisper_lambda.errors import (
        BadOption,
        UnknownFormat,
        UnknownLanguage,
        UnknownModel,
        WhisperLambdaError,
    )

    try:
        if args[0] == "transcribe":
            with importing():
                from whisper_lambda.cli import flags
                from whisper_lambda.cli.transcribe import transcribe, translated

            values = flags.read(transcribe, translated(args[1:]))
            if values is not None:
                return transcribe(**values, build=build)
        return _through_typer(args, build)
    except WrongSetting as wrong:
        say(f"error: {wrong} ({BadOption.code})")
        return 2
    except WhisperLambdaError as failure:
        if "--debug" in args:
            traceback.print_exc()
        say(f"error: {failure} ({failure.code})")
        return 2 if isinstance(failure, BadOption | UnknownFormat | UnknownLanguage | UnknownModel) else 1


def _through_typer(args: list[str], build: Callable[[Settings], Service] | None) -> int:
    from typer import Abort
    from typer.core import TyperGroup
    from typer.exceptions import TyperException
    from typer.main import get_command

    from whisper_lambda.cli.app import app

    command = get_command(app)
    assert isinstance(command, TyperGroup)
    try:
        return (
            command.main(args, prog_name="whisper-lambda", standalone_mode=False, obj={"build": build}) or 0
        )
    except Abort:
        return 130
    except TyperException as misuse:
        complaint = misuse.format_message().replace("Value error, ", "")
        say(f"error: {complaint or 'a command is missing'}")  # a group alone has shown its commands
        context = getattr(misuse, "ctx", None)
        say(f"see: {context.command_path if context else 'whisper-lambda'} --help")
        return misuse.exit_code


def _terminate(signum: int, _frame: object) -> NoReturn:
    raise Terminated(128 + signum)
