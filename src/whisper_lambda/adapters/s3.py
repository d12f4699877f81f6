"""ObjectStore on an S3 bucket. Clients send recordings to the bucket itself, by presigned PUT.

An object appears when its upload is complete, so nobody sees half of one. What cannot be sent as
one request goes up in parts; an upload that breaks is aborted here, or by the bucket's lifecycle
rule where this process dies.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from whisper_lambda.adapters.boto import Client, code_of, failures
from whisper_lambda.errors import AudioTooLarge, ObjectMissing, StorageFull
from whisper_lambda.ports import Pieces
from whisper_lambda.types import Stored, Ticket

PIECE_BYTES = 1 << 20
PART_BYTES = 8 << 20  # S3's least is 5 MiB, and 10,000 parts are its most: 80 GB an object
IN_MEMORY_BYTES = 8 << 20  # opened objects beyond this lie in a file without a name
LONGEST_TICKET_S = 7 * 86_400.0  # S3's limit; a role's credentials end sooner, and the ticket with them
_KEY = re.compile(r"[a-z0-9_-][a-z0-9_.-]*(/[a-z0-9_-][a-z0-9_.-]*)*")
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})


class S3Objects:
    """Objects of one bucket; see the port."""

    def __init__(
        self, bucket: str, *, scratch: Path | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Name the store; nothing is asked before it is needed.

        Args:
            bucket: its name.
            scratch: directory for objects too large for memory while they are read; None = the system's.
            clock: seconds since the epoch.
        """
        self._bucket = bucket
        self._scratch = scratch
        self._clock = clock
        self._client = Client("s3")

    def put(self, key: str, content: bytes | Pieces, *, max_bytes: int | None = None) -> Stored:
        """Keep an object; see the port."""
        place = self._place(key)
        stream = _Counted(io.BytesIO(content) if isinstance(content, bytes) else content, max_bytes)
        first = stream.part()
        with failures("S3"):
            if len(first) < PART_BYTES:
                self._client().put_object(**place, Body=first)
            else:
                self._put_parts(place, first, stream)
        return Stored(stream.size_bytes, stream.digest.hexdigest())

    def _put_parts(self, place: dict[str, str], first: bytes, stream: _Counted) -> None:
        s3 = self._client()
        upload = {**place, "UploadId": s3.create_multipart_upload(**place)["UploadId"]}
        try:
            parts: list[dict[str, Any]] = []
            part = first
            while part:
                number = len(parts) + 1
                sent = s3.upload_part(**upload, PartNumber=number, Body=part)
                parts.append({"PartNumber": number, "ETag": sent["ETag"]})
                part = stream.part()
            s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException:
            s3.abort_multipart_upload(**upload)
            raise

    def open(self, key: str) -> BinaryIO:
        """Return an object's stream, fetched whole: a plan reads all of it, and a file can be decoded.

        Raises:
            ObjectMissing: there is none.
            StorageFull: there is no room for it in the scratch directory.
            StorageFailed: S3 does not answer, or refuses us.
        """
        with self._present(key):
            answer = self._client().get_object(**self._place(key))
            body = answer["Body"]
            if answer["ContentLength"] <= IN_MEMORY_BYTES:
                with body:
                    return io.BytesIO(body.read())
            with body:
                return self._in_file(body)

    def _in_file(self, body: Any) -> BinaryIO:  # noqa: ANN401 - botocore's stream
        file = tempfile.TemporaryFile(dir=self._scratch, buffering=0)  # noqa: SIM115 - the caller closes it
        try:
            for piece in body.iter_chunks(PIECE_BYTES):  # where S3 falls silent that is an OSError, too
                _write(file, piece)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file  # unbuffered: a FileIO

    def size(self, key: str) -> int:
        """Return an object's size; see the port."""
        with self._present(key):
            size: int = self._client().head_object(**self._place(key))["ContentLength"]
            return size

    def delete(self, key: str) -> None:
        """Remove an object; see the port."""
        with failures("S3"):
            self._client().delete_object(**self._place(key))

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield keys in order, which is S3's own; see the port."""
        with failures("S3"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                yield from (found["Key"] for found in page.get("Contents", ()))

    def ticket(
        self, key: str, *, size_bytes: int, content_type: str, expires_s: float, sha256: str
    ) -> Ticket:
        """Return a presigned PUT. Size, type and sha256 are signed: S3 refuses any other.

        Raises:
            StorageFailed: there are no credentials to sign with.
        """
        bounds: dict[str, Any] = {"ContentLength": size_bytes}
        headers = {"Content-Length": str(size_bytes)}
        if content_type:
            bounds["ContentType"] = headers["Content-Type"] = content_type
        if sha256:
            digest = base64.b64encode(bytes.fromhex(sha256)).decode()
            bounds["ChecksumSHA256"] = headers["x-amz-checksum-sha256"] = digest
        seconds = int(min(expires_s, LONGEST_TICKET_S))
        with failures("S3"):
            url = self._client().generate_presigned_url(
                "put_object", Params={**self._place(key), **bounds}, ExpiresIn=seconds
            )
        # A client computes the length of what it sends by itself, and browsers let nobody set it.
        told = tuple((n, v) for n, v in headers.items() if n != "Content-Length")
        return Ticket(url, headers=told, expires_at=self._clock() + seconds)

    def form(self, key: str, *, size_bytes: int, content_type: str, expires_s: float, sha256: str) -> Ticket:
        """Return a presigned POST. Its policy bounds size, type and sha256: S3 refuses any other form.

        Raises:
            StorageFailed: there are no credentials to sign with.
        """
        fields: dict[str, str] = {}
        if content_type:
            fields["Content-Type"] = content_type
        if sha256:
            fields["x-amz-checksum-sha256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
        bounds: list[Any] = [["content-length-range", size_bytes, size_bytes]]
        bounds += [{name: value} for name, value in fields.items()]
        seconds = int(min(expires_s, LONGEST_TICKET_S))
        place = self._place(key)
        with failures("S3"):
            made = self._client().generate_presigned_post(
                place["Bucket"], place["Key"], Fields=fields, Conditions=bounds, ExpiresIn=seconds
            )
        told = tuple(made["fields"].items())
        return Ticket(made["url"], "POST", fields=told, expires_at=self._clock() + seconds)

    def close(self) -> None:
        """Close connections; a later call opens them again."""
        self._client.close()

    def _place(self, key: str) -> dict[str, str]:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of an object")
        return {"Bucket": self._bucket, "Key": key}

    @contextmanager
    def _present(self, key: str) -> Iterator[None]:
        """Say in our words that an object is not there."""
        with failures("S3"):
            try:
                yield
            except Exception as cause:
                if code_of(cause) in _ABSENT:
                    raise ObjectMissing(f"there is no object {key}") from cause
                raise


def _write(file: BinaryIO, piece: bytes) -> None:
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as cause:
        raise StorageFull(f"no room to read a recording: {cause.strerror}") from cause


class _Counted:
    """A stream that is cut in parts, hashed, and refused as soon as it is too long."""

    def __init__(self, stream: Pieces, max_bytes: int | None) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self.size_bytes = 0
        self.digest = hashlib.sha256()

    def part(self) -> bytes:
        """Return the next PART_BYTES; fewer only at the end."""
        pieces = []
        left = PART_BYTES
        while left and (piece := self._stream.read(min(PIECE_BYTES, left))):
            self.size_bytes += len(piece)
            if self._max_bytes is not None and self.size_bytes > self._max_bytes:
                raise AudioTooLarge(f"more than the {self._max_bytes} bytes that are accepted")
            self.digest.update(piece)
            pieces.append(piece)
            left = max(0, left - len(piece))
        return b"".join(pieces)
