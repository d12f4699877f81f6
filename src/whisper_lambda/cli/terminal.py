"""What is said to the person at the terminal: one safe line at a time, on stderr."""

from __future__ import annotations

import io
import os
import re
import sys

# Control characters move the cursor or set the title; bidi overrides and line separators lie
# about the order of what is shown; lone surrogates are bytes that were not UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_BUT_LINES = re.compile(f"(?![\n\t]){_UNSAFE.pattern}")


class Terminated(BaseException):
    """The process is asked to end, and with which exit code. typer takes KeyboardInterrupt for itself."""

    def __init__(self, code: int) -> None:
        self.code = code


def one_line(text: str) -> str:
    """Return text that can change nothing on a terminal but the line it stands on."""
    return _UNSAFE.sub(_escaped, text)


def harmless(text: str) -> str:
    """Return text of several lines that can only be read: line ends and tabs stay."""
    return _UNSAFE_BUT_LINES.sub(_escaped, text)


def say(line: str) -> None:
    """Write one line to stderr. A closed stderr is nobody listening, not an error."""
    try:
        sys.stderr.write(one_line(line) + "\n")
        sys.stderr.flush()
    except OSError:
        return


def show(text: str) -> None:
    """Write a transcript to stdout: as it is into a pipe or a file, made harmless on a terminal.

    Raises:
        BrokenPipeError: nobody reads it any more.
        OSError: it cannot be written; the error names stdout, and not the recording.
    """
    try:
        sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as cause:
        raise OSError(cause.errno, cause.strerror, "standard output") from cause


def open_streams() -> None:
    """Put something in the place of standard streams that were closed before we began (`>&-`).

    Else the next file opened, a socket or a database, would be descriptor 1, and Python's stream is
    None. Nothing can be read there and messages go nowhere; writing a transcript there is an error.
    """
    for number, (name, flags) in enumerate(
        {"stdin": os.O_RDONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}.items()
    ):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free descriptor, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", closefd=False))


def utf8_streams() -> None:
    """Let no character a transcript can hold stop the printing of it.

    A pipe always gets UTF-8; a terminal keeps its own encoding and shows `?` for what it lacks.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):  # a test's or an embedder's own stream
            continue
        if stream.isatty():
            stream.reconfigure(errors="replace")
        else:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()
