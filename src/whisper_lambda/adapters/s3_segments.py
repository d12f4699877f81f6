"""SegmentCache on an S3 bucket.

    secrets/<tenant>                     32 random bytes, written once: If-None-Match
    cache/<tenant>/<epoch>/<key>         sha256 of the value, a line end, the value as JSON

The epoch is a digest of the secret: what is written for a tenant who is being forgotten lies where
nobody looks any more, and its writer takes it away again. Age is the bucket's lifecycle rule, and
`max_age_s` where that rule has not been at work yet.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable

from whisper_lambda import stored, tenants
from whisper_lambda.adapters.boto import Client, code_of, failures
from whisper_lambda.errors import StorageFailed
from whisper_lambda.types import Remembered

AGAIN_S = 10.0  # after a failure the cache is left alone for so long: each chunk would wait again
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})

log = logging.getLogger(__name__)


class S3Segments:
    """Remembers what chunks said in one bucket; see the port."""

    def __init__(self, bucket: str, *, max_age_s: float, clock: Callable[[], float] = time.time) -> None:
        """Name the cache; nothing is asked before it is needed.

        Args:
            bucket: its name.
            max_age_s: older entries are misses.
            clock: seconds since the epoch.
        """
        self._bucket = bucket
        self._max_age_s = max_age_s
        self._clock = clock
        self._client = Client("s3")
        self._ill_until = 0.0

    def secret(self, tenant: str) -> bytes:
        """Return the tenant's secret; see the port."""
        place = {"Bucket": self._bucket, "Key": _secret_key(tenant)}
        with failures("the segment cache in S3"):
            if found := self._body(place["Key"]):
                return found
            made = secrets.token_bytes(32)
            try:
                self._client().put_object(**place, Body=made, IfNoneMatch="*")
            except Exception as cause:
                if code_of(cause) not in _TAKEN:
                    raise
                return self._body(place["Key"]) or self.secret(tenant)  # another was quicker
            return made

    def get(self, tenant: str, key: str) -> Remembered | None:
        """Return what is remembered; see the port."""
        if self._ill:
            return None
        try:
            with failures("the segment cache in S3"):
                if not (secret := self._body(_secret_key(tenant))):
                    return None
                return self._read(_entry_key(tenant, secret, key))
        except StorageFailed as failure:
            self._fall_ill(failure)
            return None

    def put(self, tenant: str, key: str, value: Remembered) -> None:
        """Keep a value; see the port."""
        if self._ill:
            return
        body = stored.to_json(value).encode()
        sealed = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        try:
            with failures("the segment cache in S3"):
                if not (secret := self._body(_secret_key(tenant))):
                    return
                place = {"Bucket": self._bucket, "Key": _entry_key(tenant, secret, key)}
                self._client().put_object(**place, Body=sealed)
                if self._body(_secret_key(tenant)) != secret:  # forgotten meanwhile
                    self._client().delete_object(**place)
        except StorageFailed as failure:
            self._fall_ill(failure)

    def forget(self, tenant: str) -> int:
        """Remove all that is the tenant's; see the port."""
        with failures("the segment cache in S3"):
            self._client().delete_object(Bucket=self._bucket, Key=_secret_key(tenant))
            count = 0
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"cache/{tenants.folder(tenant)}/"):
                keys = [{"Key": found["Key"]} for found in page.get("Contents", ())]
                if not keys:
                    continue
                answer = self._client().delete_objects(Bucket=self._bucket, Delete={"Objects": keys})
                if answer.get("Errors"):
                    raise StorageFailed("S3 kept some of the cache's entries; ask again")
                count += len(keys)
        return count

    def close(self) -> None:
        """Close connections; a later call opens them again."""
        self._client.close()

    def _read(self, name: str) -> Remembered | None:
        body = self._body(name, newer_than=self._clock() - self._max_age_s)
        if body is None:
            return None
        seal, _, value = body.partition(b"\n")
        try:
            if hashlib.sha256(value).hexdigest().encode() != seal:
                raise ValueError("its bytes are not those that were put")  # noqa: TRY301
            remembered: Remembered = stored.from_json(value)
        except ValueError as damage:
            log.warning("an entry of the segment cache is damaged and counts as a miss: %s", damage)
            self._client().delete_object(Bucket=self._bucket, Key=name)
            return None
        return remembered

    def _body(self, name: str, newer_than: float = 0.0) -> bytes | None:
        """Return an object's bytes; None when there is none, or it is older."""
        try:
            answer = self._client().get_object(Bucket=self._bucket, Key=name)
        except Exception as cause:
            if code_of(cause) in _ABSENT:
                return None
            raise
        with answer["Body"] as stream:
            if answer["LastModified"].timestamp() < newer_than:
                return None
            body: bytes = stream.read()
            return body

    @property
    def _ill(self) -> bool:
        return time.monotonic() < self._ill_until

    def _fall_ill(self, failure: Exception) -> None:
        self._ill_until = time.monotonic() + AGAIN_S
        log.warning("the segment cache is left alone for %.0f s: %s", AGAIN_S, failure)


def _secret_key(tenant: str) -> str:
    return f"secrets/{tenants.folder(tenant)}"


def _entry_key(tenant: str, secret: bytes, key: str) -> str:
    return f"cache/{tenants.folder(tenant)}/{hashlib.sha256(secret).hexdigest()[:16]}/{key}"
