"""Uploads: a ticket for one recording, then its bytes, in one request or in several; and deleting one's data.

    POST /v1/uploads            -> where to PUT, until when
    PUT  <that address>         -> the bytes, from the start or, with Content-Range, from where it broke off
    HEAD <that address>         -> Upload-Offset: how many bytes have come

The ticket's signature stands for the key of whoever asked for it, as a presigned address of S3 does. A
key sent all the same must be of that tenant.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio.from_thread
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from whisper_lambda import tenants, uploads
from whisper_lambda.errors import (
    AudioTooLarge,
    BadOption,
    BrokenRequest,
    ClientGone,
    MethodNotAllowed,
    TicketRefused,
    UploadConflict,
    UploadMismatch,
)
from whisper_lambda.http import jsonbody, parameters
from whisper_lambda.http.admission import VISIT
from whisper_lambda.http.asking import facts
from whisper_lambda.http.fields import Field, Kind, Values, blamed, choice, schema, text, whole
from whisper_lambda.http.house import House, whose
from whisper_lambda.http.table import Table
from whisper_lambda.ports import Receiver, TakesForms
from whisper_lambda.types import Announced

MEGABYTE = 1_000_000
LARGEST = 10**12  # bytes anybody may announce; the settings say less
SWEEP_EVERY_S = 60.0
_MOST_JSON = 16_384  # bytes
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}(;[ -~]{0,64})?")


def _sha256() -> Kind:
    def read(given: str) -> str:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", given):
            raise BadOption("a sha256 is 64 hexadecimal digits")
        return given.lower()

    return Kind(read, {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"})


def _content_type() -> Kind:
    def read(given: str) -> str:
        if not _TYPE.fullmatch(given):
            raise BadOption("a content type is like audio/mpeg")
        return given

    return Kind(read, {"type": "string", "example": "audio/mpeg"})


FIELDS = [
    Field("size_bytes", whole(1, LARGEST - 1), "exactly the size of the recording", required=True),
    Field("content_type", _content_type(), "exactly the Content-Type it will be sent with"),
    Field("sha256", _sha256(), "of its bytes: what comes is checked against it"),
    Field("method", choice(("PUT", "POST")), "POST = as a form (on AWS only); PUT if absent"),
    Field("filename", text(1024), "not read: what a recording is is found in its bytes"),
    Field("user_id", text(parameters.LONGEST_USER), "whose request it is, where no key says so"),
]


def router(house: House) -> Table:
    """Return the routes."""
    routes = Table(prefix="/v1", tags=["Uploads"])
    sweeper = Sweeper(house)

    @routes.answer("POST", "/uploads", status_code=201, openapi_extra=_body())
    async def announce(request: Request) -> Response:
        """Ask for leave to send one recording, exactly as announced, once, before it expires."""
        values = await _values(request)
        tenant = whose(values.get("user_id", ""))
        allowed = house.settings.max_audio_mb * MEGABYTE
        if values["size_bytes"] > allowed:
            raise blamed(AudioTooLarge(f"at most {allowed} bytes are accepted"), "size_bytes")
        made = await anyio.to_thread.run_sync(partial(_ticket, house, request, tenant, values))
        await anyio.to_thread.run_sync(sweeper.sweep)
        return JSONResponse(made, 201)

    @routes.answer("PUT", "/uploads/{folder}/{upload_id}")
    async def send(request: Request, folder: str, upload_id: str) -> Response:
        """Send the recording, or the rest of it."""
        receiver, key, announced = await _announced(house, request, folder, upload_id)
        offset = _offset(request, announced)
        incoming = Incoming(request.stream())
        receive = partial(receiver.receive, key, announced, offset, incoming)
        try:
            have = await anyio.to_thread.run_sync(receive, limiter=house.threads)
        finally:
            facts(request.scope)["size_bytes"] = incoming.count
        return JSONResponse(_state(upload_id, have, announced), headers={"Upload-Offset": str(have)})

    @routes.answer("HEAD", "/uploads/{folder}/{upload_id}")
    async def ask(request: Request, folder: str, upload_id: str) -> Response:
        """Say, in Upload-Offset, how many bytes have come."""
        receiver, key, announced = await _announced(house, request, folder, upload_id)
        have = await anyio.to_thread.run_sync(receiver.received, key)
        told = {"Upload-Offset": str(have), "Upload-Length": str(announced.size_bytes)}
        return Response(headers={**told, "Cache-Control": "no-store"})

    @routes.answer("DELETE", "/data")
    async def forget(request: Request) -> Response:
        """Remove all that is kept of the tenant: recordings, results, what was remembered."""
        values = Values([FIELDS[-1]])
        for name, value in request.query_params.multi_items():
            values.add(name, value)
        tenant = whose(values.finished().get("user_id", ""))
        # The rows first: a worker that ends a chunk meanwhile then finds no place for it.
        await anyio.to_thread.run_sync(lambda: house.office.desk().forget(tenant))
        gone = await anyio.to_thread.run_sync(house.service.forget, tenant)
        return JSONResponse(
            {"object": "data", "deleted": True, "entries": gone.entries, "objects": gone.objects}
        )

    return routes


def _body() -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema(FIELDS, None)}}}
    }


async def _values(request: Request) -> dict[str, Any]:
    """Return the checked members of a JSON object.

    Raises:
        ClientError: one of its kin.
    """
    try:
        members = jsonbody.members(await _short(request))
    except BrokenRequest:
        raise BrokenRequest(
            'send a JSON object such as {"size_bytes": 1234567, "content_type": "audio/mpeg"}'
        ) from None
    values = Values(FIELDS)
    for name, value in members.items():
        if isinstance(value, bool | dict | list | float):
            raise blamed(BadOption(f"{name[:64]} is neither text nor a whole number"), name[:64])
        if value is not None:
            values.add(name, str(value))
    return values.finished()


async def _short(request: Request) -> bytes:
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > _MOST_JSON:
                raise AudioTooLarge(f"at most {_MOST_JSON} bytes of JSON are read here")
    except ClientDisconnect as cause:
        raise ClientGone("the client left while it was sending") from cause
    return bytes(body)


def _ticket(house: House, request: Request, tenant: str, values: dict[str, Any]) -> dict[str, Any]:
    upload_id = uploads.new_id(time.time())
    objects = house.service.objects
    ticket_for = objects.ticket
    if values.get("method") == "POST":
        if not isinstance(objects, TakesForms):
            raise blamed(BadOption("this server takes a recording by PUT"), "method")
        ticket_for = objects.form
    ticket = ticket_for(
        uploads.key(tenant, upload_id),
        size_bytes=values["size_bytes"],
        content_type=values.get("content_type", ""),
        expires_s=house.settings.upload_expires_s,
        sha256=values.get("sha256", ""),
    )
    ours = ticket.url.startswith("/")
    return {
        "id": upload_id,
        "object": "upload",
        "method": ticket.method,
        "url": str(request.base_url).rstrip("/") + ticket.url if ours else ticket.url,
        "headers": dict(ticket.headers),
        **({"fields": dict(ticket.fields)} if ticket.fields else {}),
        "size_bytes": values["size_bytes"],
        "offset": 0,
        "expires_at": int(ticket.expires_at),
    }


async def _announced(
    house: House, request: Request, folder: str, upload_id: str
) -> tuple[Receiver, str, Announced]:
    """Return who receives, under which key, what the ticket announced.

    Raises:
        TicketRefused: the address was not given out by us, has expired, or was given to another.
        MethodNotAllowed: this server's uploads go elsewhere.
    """
    receiver = house.service.objects
    if not isinstance(receiver, Receiver):
        raise MethodNotAllowed("uploads of this server go to the address POST /v1/uploads gives")
    key = VISIT.get().key
    if key and tenants.folder(key.tenant) != folder:
        raise TicketRefused("this address was given to another tenant")
    name = f"uploads/{folder}/{upload_id}"
    return receiver, name, await anyio.to_thread.run_sync(receiver.check, name, request.url.query)


def _offset(request: Request, announced: Announced) -> int:
    """Return where the body goes on; refuse, before it is read, one that is not what was announced."""
    kind = request.headers.get("content-type", "")
    if announced.content_type and kind != announced.content_type:
        raise UploadMismatch(f"the Content-Type is to be {announced.content_type}, as announced")
    length = request.headers.get("content-length", "")
    stated = request.headers.get("content-range")
    size = int(length) if length.isdecimal() and len(length) < 16 else None  # noqa: PLR2004 - digits
    if stated is None:
        if size is not None and size > announced.size_bytes:
            raise UploadMismatch(f"{size} bytes are more than the {announced.size_bytes} announced")
        return 0
    found = _RANGE.fullmatch(stated)
    first, last = (int(found[1]), int(found[2])) if found else (1, 0)
    total = int(found[3]) if found and found[3] != "*" else announced.size_bytes
    if first > last or last >= announced.size_bytes or total != announced.size_bytes:
        raise UploadConflict(f"Content-Range is to be bytes A-B/{announced.size_bytes}")
    if size is not None and size != last - first + 1:
        raise UploadConflict("Content-Range and Content-Length do not fit together")
    return first


def _state(upload_id: str, have: int, announced: Announced) -> dict[str, Any]:
    status = "complete" if have == announced.size_bytes else "partial"
    return {
        "id": upload_id,
        "object": "upload",
        "status": status,
        "offset": have,
        "size_bytes": announced.size_bytes,
    }


class Incoming:
    """A request's body as a stream to be read in a thread, piece by piece as it comes."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most so many; none at the end.

        Raises:
            ClientGone: the client left; what came before was returned before.
        """
        while not self._rest:
            piece = anyio.from_thread.run(self._next)
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        taken = self._rest[: size if size >= 0 else None]
        self._rest = self._rest[len(taken) :]
        self.count += len(taken)
        return bytes(taken)

    async def _next(self) -> bytes | None:
        try:
            return await anext(self._pieces, None)
        except ClientDisconnect as cause:
            raise ClientGone("the client left while it was sending") from cause


class Sweeper:
    """Removes uploads whose time is over, now and then, when a new one is asked for."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._lock = threading.Lock()
        self._next = 0.0

    def sweep(self) -> None:
        """Remove what is overdue, unless that was done a moment ago or is being done."""
        if time.monotonic() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._next = time.monotonic() + SWEEP_EVERY_S
            self._house.service.sweep(time.time())
        finally:
            self._lock.release()
