"""Stand-ins for AWS: moto inside this process, and ministack, a server that `make test-aws` installs.

Neither checks signatures or expiry, so what we sign has tests of its own (unit/adapters/test_tickets.py).
"""

from __future__ import annotations

import atexit
import os
import secrets
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core import botocore_stubber

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv-aws"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_SESSION_TOKEN": "",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
STARTS_WITHIN_S = 60.0


@contextmanager
def moto() -> Iterator[None]:
    """AWS in this process, one request at a time: moto's checks and writes are not made for threads."""
    alone = threading.RLock()
    answered = botocore_stubber.BotocoreStubber.__call__

    def one_by_one(*args: Any, **kwargs: Any) -> Any:
        with alone:
            return answered(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.setattr(botocore_stubber.BotocoreStubber, "__call__", one_by_one)
        with mock_aws():
            yield


@contextmanager
def ministack() -> Iterator[None]:
    """A server on this machine, the same for all tests of a run."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": server()}.items():
            patch.setenv(name, value)
        yield


@cache
def server() -> str:
    """Start ministack and return its address; it ends with this process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="wl-ministack-")
    env = {
        **{n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "PYTHON"))},
        **CREDENTIALS,
        "BIND_HOST": "127.0.0.1",  # else it listens to the whole network
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "TMPDIR": folder,
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }
    with Path(folder, "log").open("wb") as log:
        process = subprocess.Popen([VENV / "bin" / "ministack"], env=env, stdout=log, stderr=log, cwd=folder)
    atexit.register(_stop, process)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/_ministack/health", timeout=1):
                return address
        except OSError:
            assert process.poll() is None, Path(folder, "log").read_text()[-2000:]
            time.sleep(0.1)
    raise AssertionError("ministack did not start: " + Path(folder, "log").read_text()[-2000:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def bucket() -> str:
    """Make a bucket and return its name."""
    name = f"test-{secrets.token_hex(6)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


def table() -> str:
    """Make a table with the keys deploy/template.yaml gives it, and return its name."""
    name = f"test-{secrets.token_hex(6)}"
    keys = {"pk": "HASH", "sk": "RANGE"}
    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in keys],
        KeySchema=[{"AttributeName": k, "KeyType": t} for k, t in keys.items()],
    )
    return name


CLOUDS: dict[str, Callable[[], AbstractContextManager[None]]] = {"moto": moto, "ministack": ministack}
NAMES = ["moto", pytest.param("ministack", marks=pytest.mark.aws)]  # for parametrize and fixtures
