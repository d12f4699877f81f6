"""Arguments (FILE, DIR, GLOB, -) in, recordings with a name each out."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from whisper_lambda.errors import AudioTooLarge, BadOption, WhisperLambdaError

# What a folder's media files are called. Only a folder is searched by name: a file given by name
# is tried whatever it is called, and the decoder never looks at the name at all.
SUFFIXES = (
    *(
        ".3ga",
        ".aac",
        ".ac3",
        ".aif",
        ".aiff",
        ".alac",
        ".amr",
        ".ape",
        ".au",
        ".caf",
        ".eac3",
        ".flac",
        ".gsm",
    ),
    *(
        ".m4a",
        ".m4b",
        ".mka",
        ".mp2",
        ".mp3",
        ".mpga",
        ".oga",
        ".ogg",
        ".opus",
        ".ra",
        ".spx",
        ".tta",
        ".w64",
    ),
    *(".wav", ".weba", ".wma", ".wv"),
    *(
        ".3gp",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".ts",
    ),
    *(".vob", ".webm", ".wmv"),
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording to transcribe, and what to call it."""

    path: Path | None  # None = standard input
    name: str  # as shown; may hold anything a file name can
    stem: PurePath  # of the files written for it, below the output directory


def recordings(arguments: Iterable[str]) -> list[Recording]:
    """Return the recordings the arguments name, in order, each file once.

    A folder stands for its media files, searched to the bottom; a pattern the shell did not expand
    is expanded here. A name that does not exist is kept: opening it will fail, and only it.

    Raises:
        BadOption: standard input is named twice, or is a terminal; a folder without media files; no name.
    """
    found: list[Recording] = []
    seen: set[str | None] = set()
    for argument in arguments:
        for recording in _expanded(argument):
            # Not Path.resolve, which raises on links in a ring: to open the file will say so.
            identity = os.path.realpath(recording.path) if recording.path else None
            if identity is None and identity in seen:
                raise BadOption("standard input (-) can be read once only")
            if identity not in seen:
                found.append(recording)
            seen.add(identity)
    return found


def reason(failure: Exception, recording: Recording) -> str:
    """Return why a recording came to nothing, its code and, if another is at fault, that file."""
    if isinstance(failure, WhisperLambdaError):
        return f"{failure} ({failure.code})"
    if isinstance(failure, OSError):
        other = failure.filename not in {None, str(recording.path)}
        return f"{failure.filename}: " * other + f"{failure.strerror or failure} (file_error)"
    return f"unexpected {type(failure).__name__}: {failure} (internal_error; --debug shows where)"


def read_input(recording: Recording, *, max_bytes: int) -> Path | bytes:
    """Return what the line takes: the path, or the bytes of what cannot be sought in.

    Raises:
        AudioTooLarge: a pipe gives more than `max_bytes`; reading stops there.
        OSError: there is no such file, it is a folder, or it may not be read.
    """
    if recording.path is None:
        return _read_pipe(sys.stdin.fileno(), max_bytes)
    with recording.path.open("rb") as file:  # fails here, with the system's own words
        if recording.path.is_file():
            return recording.path
        return _read_pipe(file.fileno(), max_bytes)  # <(a process), a named pipe


def _expanded(argument: str) -> Iterator[Recording]:
    if not argument:  # a shell's variable that is not set; as a path it would be the current folder
        raise BadOption("the name of a recording is empty; . is the current folder")
    if argument == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise BadOption("standard input is a terminal: pipe a recording into it, or name a file")
        yield Recording(None, "standard input", PurePath("stdin"))
        return
    if glob.has_magic(argument) and not os.path.lexists(argument):
        matches = glob.glob(argument, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        for match in sorted(matches) or [argument]:
            yield from _at(Path(match))
    else:
        yield from _at(Path(argument))


def _at(path: Path) -> Iterator[Recording]:
    if not path.is_dir():
        yield Recording(path, str(path), PurePath(path.name))
        return
    inside = sorted(_media_files(path))
    if not inside:
        raise BadOption(f"{path} holds no media files; name a file to have it tried all the same")
    yield from (Recording(p, str(p), p.relative_to(path)) for p in inside)


def _media_files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            Path(place, name)
            for name in files
            if not name.startswith(".") and name.lower().endswith(SUFFIXES)
        )


def _read_pipe(descriptor: int, max_bytes: int) -> bytes:
    blocks: list[bytes] = []
    size = 0
    with os.fdopen(os.dup(descriptor), "rb", buffering=0) as pipe:
        while block := pipe.read(1 << 20):
            blocks.append(block)
            size += len(block)
            if size > max_bytes:
                raise AudioTooLarge(f"more than {max_bytes / 1e6:g} MB; raise WHISPER_LAMBDA_MAX_AUDIO_MB")
    return b"".join(blocks)
