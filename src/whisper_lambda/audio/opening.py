"""A path, bytes or a stream in; an open descriptor, for the decoder to read, out.

A file that is there is read where it is. All else gets a place without a name: nothing can find it,
and nothing is left of it whatever happens.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from whisper_lambda.errors import AudioTooLarge, BadAudio, EmptyAudio, StorageFull

Source = Path | bytes | BinaryIO

_IN_MEMORY = 32 * 1024 * 1024  # bytes; larger uploads wait on disk, where they do not count as memory


@contextmanager
def opened(source: Source, max_bytes: int, scratch: Path | None) -> Iterator[int]:
    """Give a descriptor to read the source from: the file itself, or a nameless copy of the bytes.

    Raises:
        EmptyAudio: there are no bytes.
        AudioTooLarge: there are more than `max_bytes`; a stream is read no further.
        BadAudio: there is no such file, or it may not be read.
        StorageFull: the copy does not fit into `scratch`.
    """
    try:
        if isinstance(source, Path) and stat.S_ISREG(source.stat().st_mode):
            file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        elif isinstance(source, Path):
            with source.open("rb") as stream:
                file = _spooled(iter(lambda: stream.read(1 << 20), b""), max_bytes, scratch)
        elif isinstance(source, bytes):
            file = _in_memory(source, max_bytes, scratch)
        elif isinstance(source, io.FileIO) and stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            os.lseek(source.fileno(), 0, os.SEEK_SET)  # it may have been written just now
            file = os.dup(source.fileno())
        else:
            file = _spooled(iter(lambda: source.read(1 << 20), b""), max_bytes, scratch)
    except OSError as cause:
        raise BadAudio(f"cannot read {getattr(source, 'name', 'the upload')}: {cause.strerror}") from cause
    try:
        size = os.fstat(file).st_size
        if size == 0:
            raise EmptyAudio("the file is empty (0 bytes)")
        _check_size(size, max_bytes)
        yield file
    finally:
        os.close(file)


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        accepted = f"{max_bytes / 1e6:g} MB accepted"
        raise AudioTooLarge(f"the file is larger than the {accepted}; compress it or send it in parts")


def _in_memory(content: bytes, max_bytes: int, scratch: Path | None) -> int:
    _check_size(len(content), max_bytes)
    if len(content) > _IN_MEMORY or not hasattr(os, "memfd_create"):
        return _spooled(iter([content]), max_bytes, scratch)
    with _room("memory"):
        file = os.memfd_create("recording")
        _write(file, content)
    return file


def _spooled(pieces: Iterator[bytes], max_bytes: int, scratch: Path | None) -> int:
    """Write pieces to a file that has no name, so that nothing is left of it whatever happens."""
    where = scratch or tempfile.gettempdir()
    with _room(where):
        nameless = tempfile.TemporaryFile(dir=scratch, buffering=0)  # noqa: SIM115
    with nameless:
        size = 0
        for piece in pieces:
            size += len(piece)
            _check_size(size, max_bytes)
            with _room(where):
                _write(nameless.fileno(), piece)
        return os.dup(nameless.fileno())


@contextmanager
def _room(where: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise StorageFull(f"no room for the upload in {where}: {cause.strerror}") from cause


def _write(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
