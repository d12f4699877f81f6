"""A request's body in; its checked fields and its recording out, counted while it is received.

The recording waits in memory up to a size, beyond it on disk in a file that has no name. What the
client calls its file is never read.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import anyio.to_thread
from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from whisper_lambda.config import Settings
from whisper_lambda.errors import (
    AudioTooLarge,
    BadOption,
    BrokenRequest,
    ClientGone,
    MissingField,
    StorageFull,
    UnknownField,
    UnsupportedMedia,
)
from whisper_lambda.http.fields import LONGEST_VALUE, Field, Values, blamed
from whisper_lambda.http.jsonbody import pairs

MEGABYTE = 1_000_000
_LONGEST_HEAD = 4096  # bytes of one header of a part: the field's name is in it
_LONGEST_FORM = 4 * LONGEST_VALUE  # bytes of a form that carries no file
Recording = bytes | io.FileIO


@dataclass(frozen=True, slots=True)
class Upload:
    """What a request brought."""

    values: dict[str, Any]  # field name -> what its kind read
    recording: Recording | None  # None: it named a `url` or an `upload` instead
    size_bytes: int


class Spool:
    """A recording as it arrives: counted, in memory while small, then in a nameless file."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._memory_bytes = settings.upload_memory_mb * MEGABYTE
        self._memory = bytearray()
        self._file: io.FileIO | None = None
        self.size_bytes = 0

    async def write(self, piece: bytes) -> None:
        """Take a piece, leaving the event loop where it goes to disk; see `take`."""
        if self._file is None and self.size_bytes + len(piece) <= self._memory_bytes:
            self.take(piece)
        else:
            await anyio.to_thread.run_sync(self.take, piece)

    def take(self, piece: bytes) -> None:
        """Take a piece.

        Raises:
            AudioTooLarge: the recording passes the limit.
            StorageFull: it does not fit on disk.
        """
        self.size_bytes += len(piece)
        check_size(self.size_bytes, self._settings)
        if self._file is None and self.size_bytes <= self._memory_bytes:
            self._memory += piece
            return
        try:
            if self._file is None:
                self._file = _nameless(self._settings)
                _write_all(self._file, self._memory)
                self._memory = bytearray()
            _write_all(self._file, piece)
        except OSError as cause:
            raise StorageFull(f"no room for the upload: {cause.strerror}") from cause

    def recording(self) -> Recording:
        """Return what came, to be read from its start."""
        if self._file is None:
            return bytes(self._memory)
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Give back the memory or the disk."""
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()


def check_size(size_bytes: int, settings: Settings) -> None:
    """Refuse what is too large, saying how large it may be and what to do.

    Raises:
        AudioTooLarge: it is larger than `settings.max_upload_mb`.
    """
    if size_bytes > settings.max_upload_mb * MEGABYTE:
        raise AudioTooLarge(
            f"at most {settings.max_upload_mb} MB can be sent at once. Opus at 24 kbit/s holds an hour of "
            "speech in 11 MB (ffmpeg -i IN -ac 1 -c:a libopus -b:a 24k OUT.ogg); or send it in parts"
        )


def _nameless(settings: Settings) -> io.FileIO:
    file = tempfile.TemporaryFile(dir=settings.scratch, buffering=0)  # noqa: SIM115 - the spool closes it
    assert isinstance(file, io.FileIO)
    return file


def _write_all(file: io.FileIO, piece: bytes | bytearray) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) or 0 :]


@asynccontextmanager
async def received(
    request: Request, table: Sequence[Field], settings: Settings, *, part: str = "file"
) -> AsyncIterator[Upload]:
    """Read the request: its query, and its body as multipart, as a form, or as the recording itself.

    Args:
        request: nothing of its body has been read.
        table: the fields it may have, in its query or its form.
        settings: bound memory and size.
        part: name of the recording's part in a multipart body.

    Raises:
        ClientError: one of its kin, as soon as it is sure; the rest of the body is left unread.
    """
    spool = Spool(settings)
    try:
        values = Values(table)
        length = request.headers.get("content-length", "")
        if length.isdecimal():
            check_size(int(length) - LONGEST_VALUE, settings)  # the form around the recording is not counted
        for name, value in request.query_params.multi_items():
            values.add(name, value)
        try:
            came = await _body(request, values, spool, part)
        except ClientDisconnect as cause:
            raise ClientGone("the client left while it was sending") from cause
        given = values.finished()
        elsewhere = [name for name in ("url", "upload") if name in given]
        if came + len(elsewhere) > 1:
            names = " or ".join([*([part] if came else []), *elsewhere])
            raise blamed(BadOption(f"give {names}, not both"), part)
        if not came and not elsewhere:
            raise blamed(MissingField(f"{part} is missing: send the recording in it"), part)
        yield Upload(given, spool.recording() if came else None, spool.size_bytes)
    finally:
        spool.close()


async def _body(request: Request, values: Values, spool: Spool, part: str) -> bool:
    """Read the body into `values` and `spool`; tell whether a recording came."""
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        return await _Multipart(values, spool, part).read(request, parameters.get(b"boundary", b""))
    if kind in _FORMS:
        for name, value in _FORMS[kind](await _short(request)):
            values.add(name, value)
        return False
    if kind.startswith((b"audio/", b"video/")) or kind == b"application/octet-stream":
        async for piece in request.stream():
            await spool.write(piece)
        return True
    if not kind and not await _short(request):
        return False
    raise UnsupportedMedia(
        f"send multipart/form-data with the recording as {part!r}, the recording itself as audio/* or "
        "application/octet-stream with its options in the query, or JSON that says where it is"
    )


def _form(body: bytes) -> list[tuple[str, str]]:
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)


_FORMS: Mapping[bytes, Callable[[bytes], Iterable[tuple[str, str]]]] = MappingProxyType(
    {b"application/x-www-form-urlencoded": _form, b"application/json": pairs}
)


async def _short(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_FORM:
            raise AudioTooLarge(f"a form without a recording is at most {_LONGEST_FORM} bytes long")
    return bytes(body)


class _Multipart:
    """Reads a multipart body as it comes in. The parser calls back; its events are worked off here."""

    def __init__(self, values: Values, spool: Spool, part: str) -> None:
        self._values = values
        self._spool = spool
        self._part = part
        self._headers: list[tuple[bytes, bytes]] = []
        self._header = (bytearray(), bytearray())
        self._name = ""  # of the part under way
        self._value: bytearray | None = None  # of a field's part; None in the recording's
        self._pieces: list[bytes] = []  # of the recording, not yet spooled
        self._came = False
        self._ended = False

    async def read(self, request: Request, boundary: bytes) -> bool:
        """Read to the end; tell whether there was a recording."""
        if not boundary:
            raise BrokenRequest("the multipart content type names no boundary")
        try:
            # A longer header is refused by `_head`, which says so.
            parser = MultipartParser(boundary, self._callbacks(), max_header_size=sys.maxsize)  # type: ignore[arg-type]
            async for piece in request.stream():
                parser.write(piece)
                await self._spooled()
            parser.finalize()
        except (FormParserError, MultipartParseError) as cause:
            raise BrokenRequest(
                "the multipart body cannot be read: it is not what its boundary says"
            ) from cause
        if not self._ended:
            raise BrokenRequest("the multipart body ends early: its last boundary did not come")
        return self._came

    async def _spooled(self) -> None:
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            await self._spool.write(piece)

    def _callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._head(self._header[0], data[start:end]),
            "on_header_value": lambda data, start, end: self._head(self._header[1], data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._headers = []

    def _head(self, kept: bytearray, more: bytes) -> None:
        kept += more
        if len(kept) > _LONGEST_HEAD:
            raise BrokenRequest(
                f"a part's header is longer than {_LONGEST_HEAD} bytes: only a field's name belongs there"
            )

    def _header_end(self) -> None:
        self._headers.append((bytes(self._header[0]).lower(), bytes(self._header[1])))
        self._header = (bytearray(), bytearray())

    def _headers_finished(self) -> None:
        disposition = next((v for n, v in self._headers if n == b"content-disposition"), b"")
        _, parameters = parse_options_header(disposition)
        if b"name" not in parameters:
            raise BrokenRequest("a part of the multipart body has no name")
        self._name = parameters[b"name"].decode("utf-8", "replace")
        if self._name == self._part:
            if self._came:
                raise blamed(
                    BadOption(f"{self._part} was sent twice: one request holds one recording"), self._part
                )
            self._came, self._value = True, None
            return
        if b"filename" in parameters:
            raise blamed(
                UnknownField(f"there is no file {self._name[:64]!r}; the recording's part is {self._part!r}"),
                self._name[:64],
            )
        self._values.expected(self._name)
        self._value = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._value is None:
            self._pieces.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > LONGEST_VALUE * 4:  # bytes; characters are counted when they are known
            raise blamed(
                BadOption(f"{self._name[:64]} is longer than {LONGEST_VALUE} characters"), self._name[:64]
            )

    def _end(self) -> None:
        if self._value is not None:
            self._values.add(self._name, self._value.decode("utf-8", "replace"))

    def _finish(self) -> None:
        self._ended = True
