"""What no stand-in for S3 does by itself: fall silent in the middle of an object."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from clouds import CREDENTIALS
from whisper_lambda.adapters import boto
from whisper_lambda.adapters.s3 import S3Objects
from whisper_lambda.errors import StorageFailed

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\nLast-Modified: Mon, 30 Nov 2026 08:00:00 GMT\r\n\r\n"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Objects]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto, "_READ_S", 0.2)
    with ExitStack() as held:
        server = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.getsockname()[1]}")

        def say_half() -> None:
            with suppress(OSError):
                while True:
                    line = held.enter_context(server.accept()[0])
                    line.recv(65_536)
                    line.sendall(HEAD + b"x" * 100_000)

        threading.Thread(target=say_half, daemon=True).start()
        store = S3Objects("bucket")
        yield store
        store.close()


def test_an_object_that_stops_coming_is_the_stores_failure_and_no_full_disk(silent: S3Objects) -> None:
    with pytest.raises(StorageFailed, match="ReadTimeoutError"):
        silent.open("a/recording")
