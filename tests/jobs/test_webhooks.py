"""Webhooks: verified by the real SDK, sent nowhere private, retried, and given up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from whisper_lambda.adapters.sql import Database, sqlite_at
from whisper_lambda.adapters.sqljobs import SqlJobStore
from whisper_lambda.errors import BadOption
from whisper_lambda.job import Job, Order
from whisper_lambda.jobs.webhooks import WAITS_S, Teller, checked
from whisper_lambda.network import Network, anywhere
from whisper_lambda.types import Options


@contextmanager
def receiver(status: int = 200) -> Iterator[tuple[str, list[tuple[dict, bytes]]]]:
    got: list[tuple[dict, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(Database(sqlite_at(tmp_path / "jobs.sqlite")))
    yield store
    store.close()


def ended(store: SqlJobStore, address: str) -> Job:
    return store.create(
        Job(
            id="job_1",
            tenant="ana",
            order=Order(options=Options()),
            source="jobs/x/source",
            size_bytes=1,
            created=1.0,
            state="completed",
            finished=2.0,
            webhook=address,
        )
    )


def test_the_sdk_unwraps_what_is_sent(store: SqlJobStore) -> None:
    with receiver() as (address, got):
        again = Teller(store, anywhere()).tell(ended(store, address), 1)

    [(headers, body)] = got
    [secret] = store.secrets("ana")
    event = OpenAI(api_key="x", webhook_secret=secret).webhooks.unwrap(body, headers)
    assert again is None
    assert store.job("job_1").told == "delivered"
    assert (event.id, event.type, event.data.id) == ("evt_1", "job.completed", "job_1")
    with pytest.raises(InvalidWebhookSignatureError):
        OpenAI(api_key="x", webhook_secret="whsec_AAAA").webhooks.unwrap(body, headers)
    with pytest.raises(InvalidWebhookSignatureError):
        OpenAI(api_key="x", webhook_secret=secret).webhooks.unwrap(body + b" ", headers)


def test_after_a_rotation_both_secrets_verify(store: SqlJobStore) -> None:
    [old] = store.secrets("ana")
    new = store.rotate_secret("ana", 4e9, 60.0)
    with receiver() as (address, got):
        Teller(store, anywhere()).tell(ended(store, address), 1)

    [(headers, body)] = got
    for secret in (old, new):
        assert OpenAI(api_key="x", webhook_secret=secret).webhooks.unwrap(body, headers).id == "evt_1"


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_receiver_that_does_not_take_it_is_called_again_and_at_last_given_up(
    store: SqlJobStore, status: int
) -> None:
    with receiver(status) as (address, got):
        job, teller = ended(store, address), Teller(store, anywhere())
        waits = [teller.tell(job, attempt) for attempt in range(1, len(WAITS_S) + 2)]

    assert waits == [*WAITS_S, None]
    assert len({body for _, body in got}) == 1  # one event, however often it is sent
    assert store.job("job_1").told.startswith("given up")


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "localhost"])
def test_nothing_private_is_called(store: SqlJobStore, host: str) -> None:
    with receiver() as (address, got):
        port = address.rpartition(":")[2].partition("/")[0]
        again = Teller(store, Network()).tell(ended(store, f"https://{host}:{port}/"), 1)

    assert again == WAITS_S[0]
    assert got == []


@pytest.mark.parametrize(
    "address",
    ["http://x.example/", "ftp://x.example/", "https://u:p@x.example/", "https://", "x", "https://a b/"],
)
def test_what_can_be_no_webhook_is_refused_when_the_job_is_handed_in(address: str) -> None:
    with pytest.raises(BadOption):
        checked(address, private=False)


def test_the_message_holds_no_words(store: SqlJobStore) -> None:
    with receiver() as (address, got):
        Teller(store, anywhere()).tell(ended(store, address), 1)

    assert set(json.loads(got[0][1])["data"]) == {"id", "object", "status"}
