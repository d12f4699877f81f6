"""AWS's clients, opened when first used; the only importer of boto3. Their failures leave as ours.

Nothing is opened while a Lambda environment starts: a snapshot would keep connections and credentials
that are dead when it is restored. Endpoint, region and credentials are AWS's own variables.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from whisper_lambda.errors import StorageFailed

_CONNECT_S = 3.0
_READ_S = 60.0
_MAKING = threading.Lock()  # boto3's shared session, which keeps what services look like, makes one at a time
_TRIES = 5  # the SDK's own, with its backoff; throttling and dropped connections are among them
_LONGEST_S = 910.0  # a function may run for 900


class Client:
    """One service's client, made by whoever asks first; a forked process makes its own."""

    def __init__(self, service: str, region: str | None = None, *, once: bool = False) -> None:
        """Name the service.

        Args:
            service: as boto3 names it.
            region: None = as AWS's own variables and files say.
            once: for invoking functions: a call waits as long as a function may run, and is never made again,
                since a second invocation would run and be billed beside the first.
        """
        self._service = service
        self._region = region
        self._once = once
        self._lock = threading.Lock()
        self._made: tuple[int, Any] | None = None

    def __call__(self) -> Any:  # noqa: ANN401 - boto3 makes its clients' types at run time
        """Return the client, which many threads may use."""
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), _client(self._service, self._region, once=self._once))
            return self._made[1]

    def close(self) -> None:
        """Close its connections; a later call opens them again."""
        with self._lock:
            if self._made and self._made[0] == os.getpid():
                self._made[1].close()
            self._made = None


def _client(service: str, region: str | None, *, once: bool) -> Any:  # noqa: ANN401 - as above
    try:
        import boto3
        from botocore.config import Config
    except ImportError as cause:
        raise StorageFailed(
            "AWS is set as the store, and boto3 is not installed: whisper-lambda[aws]"
        ) from cause
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_LONGEST_S if once else _READ_S,
        retries={"mode": "standard", "total_max_attempts": 1 if once else _TRIES},
        max_pool_connections=32,
        signature_version="s3v4" if service == "s3" else None,
        request_checksum_calculation="when_required",  # else a presigned PUT demands a CRC nobody computes
    )
    with _MAKING:
        return boto3.client(service, region_name=region, config=config)


def code_of(failure: Exception) -> str:
    """Return AWS's name for what went wrong, e.g. "NoSuchKey"; "" where AWS did not answer."""
    response: dict[str, Any] = getattr(failure, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@contextmanager
def failures(what: str) -> Iterator[None]:
    """Let what AWS's libraries raise leave as StorageFailed, naming the service and the reason's code."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as cause:
        reason = code_of(cause) or type(cause).__name__
        raise StorageFailed(f"{what}: {reason}") from cause
