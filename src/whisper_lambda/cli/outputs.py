"""Transcripts in, files out: a name for each that no other has, and never half a file."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path, PurePath

from whisper_lambda.cli.inputs import Recording
from whisper_lambda.errors import BadOption, StorageFull

LONGEST_NAME = 255  # bytes; what ext4, APFS and NTFS allow a name


def prepare_folder(folder: Path) -> None:
    """Make the folder, now rather than after an hour of work.

    Raises:
        BadOption: it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as cause:
        raise BadOption(f"--output-dir {folder} is a file: name a folder to write into") from cause
    except OSError as cause:
        raise BadOption(f"--output-dir {folder}: {cause.strerror}") from cause
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadOption(f"--output-dir {folder}: no right to write there")


def file_bases(recordings: Sequence[Recording], folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return for each recording the path its files' suffixes go behind.

    `talk` for talk.mp3, as Whisper has it; `talk.mp3` and `talk.wav` where both are in one run;
    `talk.mp3-2` where even that is taken. No name is that of a recording, and names count as
    equal if any file system thinks so.
    """
    short = [r.stem.with_suffix("") for r in recordings]
    wanted = Counter(_folded(base) for base in short)
    taken = {_folded(r.path.absolute()) for r in recordings if r.path}
    bases: list[Path] = []
    for recording, base in zip(recordings, short, strict=True):
        names = chain([base] if wanted[_folded(base)] == 1 else [], _numbered(recording.stem))
        for name in names:
            path = folder.absolute() / _fitting(name, suffixes)
            files = {_folded(f"{path}{suffix}") for suffix in suffixes}
            if not files & taken:
                break
        taken |= files
        bases.append(path)
    return bases


def write_whole(path: Path, text: str) -> None:
    """Write the file so that whoever looks finds the old one or the new one, never a part.

    Raises:
        StorageFull: there is no room for it; nothing is left behind.
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".whisper-lambda-{os.urandom(6).hex()}.part"
    try:
        with partial.open("xb") as file:
            file.write(text.encode())
        partial.replace(path)
    except OSError as cause:
        if cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StorageFull(f"no room to write {path}") from cause
        raise
    finally:
        partial.unlink(missing_ok=True)


def _numbered(stem: PurePath) -> Iterator[PurePath]:
    yield stem
    yield from (stem.with_name(f"{stem.name}-{number}") for number in count(2))


def _fitting(base: PurePath, suffixes: Sequence[str]) -> PurePath:
    """Cut the name so that the longest suffix still fits behind it."""
    room = LONGEST_NAME - max(len(s.encode()) for s in suffixes)
    return base.with_name(os.fsdecode(os.fsencode(base.name)[:room]))


def _folded(path: PurePath | str) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()
