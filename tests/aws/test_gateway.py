"""The small Lambda on this machine: the limits that AWS sets are set here too."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fake_runtime_api import until

from whisper_lambda.aws.local.gateway import Gateway, Pool
from whisper_lambda.aws.local.sandbox import Function
from whisper_lambda.tools.processes import tree

PROGRAM = (sys.executable, str(Path(__file__).with_name("fake_function.py")))


@dataclass
class Local:
    url: str
    said: list[str]
    pool: Pool

    def get(self, path: str, **how) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=90, **how)

    def look(self) -> dict:
        return self.get("/look").json()


@contextmanager
def local(*, concurrency: int = 1, buffered: bool = False, **function) -> Iterator[Local]:
    said: list[str] = []
    variables = {"WHISPER_LAMBDA_LAMBDA_INVOKE_MODE": "buffered" if buffered else "stream"}
    pool = Pool(
        Function(**{"timeout_s": 60.0, "variables": variables, "command": PROGRAM, **function}),
        concurrency=concurrency,
        say=said.append,
    )
    gateway = Gateway(pool, buffered=buffered)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(gateway, lifespan="off", log_level="critical", ws="none")
    server = uvicorn.Server(config)

    async def serve() -> None:
        try:
            await server.serve(sockets=[listener])
        finally:
            await pool.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield Local(f"http://127.0.0.1:{listener.getsockname()[1]}", said, pool)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the gateway did not stop"


@pytest.fixture(scope="module")
def here() -> Iterator[Local]:
    """One function for the tests that leave it as it was."""
    with local(memory_mb=300, concurrency=2) as here:
        yield here


@pytest.fixture(scope="module")
def whole() -> Iterator[Local]:
    """The same behind a URL that does not stream."""
    with local(buffered=True, snap_start=True) as whole:
        yield whole


def test_requests_become_events_and_answers_become_answers(here: Local) -> None:
    headers = {"Cookie": "theme=dark; session=abc", "X-Many": "1"}
    answer = here.get("/look?word=a%20b", headers=headers)
    told = answer.json()

    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert told["word"] == "a b"
    assert told["headers"]["cookie"] == "theme=dark; session=abc"
    assert told["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert any(line.startswith("REPORT RequestId: ") and "Init Duration" in line for line in here.said)


def test_nothing_runs_between_two_events(here: Local) -> None:
    first = here.look()
    time.sleep(1.0)
    second = here.look()

    assert first["pid"] == second["pid"], "a warm environment is used again"
    assert second["ticks"] - first["ticks"] < 50, "the thread went on while the environment was frozen"


def test_without_the_freeze_the_thread_would_have_gone_on(here: Local) -> None:
    """The control of the test above: within an event the thread does go on."""
    first = here.look()
    second = here.get("/tire?ticks=100").json()

    assert second["ticks"] - first["ticks"] >= 100


@pytest.mark.parametrize("url", ["here", "whole"])
def test_six_megabytes_are_the_most_that_come_in(url: str, request: pytest.FixtureRequest) -> None:
    address = request.getfixturevalue(url).url + "/look"
    fits = httpx2.post(address, content=b"x" * 4_600_000, timeout=90)
    in_base64 = httpx2.post(address, content=b"x" * 4_800_000, timeout=90)
    raw = httpx2.post(address, content=b"x" * 8_000_000, timeout=90)

    assert (fits.status_code, fits.json()["size"]) == (200, 4_600_000)
    assert (in_base64.status_code, raw.status_code) == (413, 413)


def test_seven_megabytes_leave_in_a_stream_and_not_in_a_whole(here: Local, whole: Local) -> None:
    streamed = here.get("/drip?n=7&s=0&bytes=1000000")
    fits, refused = whole.get("/drip?n=4&s=0&bytes=1000000"), whole.get("/drip?n=7&s=0&bytes=1000000")

    assert len(streamed.content) == 7_000_000
    assert len(fits.content) == 4_000_000
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "answer_too_large"


def test_what_streams_arrives_as_it_is_made(here: Local) -> None:
    here.look()
    with httpx2.stream("GET", here.url + "/drip?n=4&s=0.3", timeout=90) as answer:
        times = [time.monotonic() for _ in answer.iter_lines()]

    assert len(times) == 4
    assert times[-1] - times[0] > 0.6


def test_a_stream_that_breaks_off_is_seen_to_break_off(here: Local) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        here.get("/drip?n=2&s=0&break=1")


def test_a_client_that_leaves_is_noticed_in_the_function(here: Local, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with httpx2.stream("GET", f"{here.url}/drip?n=200&s=0.05&mark={mark}", timeout=90) as answer:
        next(answer.iter_lines())
    until(mark.exists)

    assert here.get("/look").status_code == 200


def test_what_takes_too_long_is_answered_for_and_what_cannot_be_is_ended() -> None:
    with local(timeout_s=10.0) as here:
        before = here.look()
        late = here.get("/sleep?s=120")
        after = here.look()
        hung = here.get("/block?s=120")
        anew = here.look()
        pids = list(tree(anew["pid"]))
    time.sleep(0.3)

    assert (late.status_code, late.json()["error"]["code"]) == (504, "out_of_time")
    assert before["pid"] == after["pid"], "the runtime answered in time, and nothing was ended"
    assert hung.status_code == 502
    assert any("Task timed out after 10.00 seconds" in line for line in here.said)
    assert after["pid"] != anew["pid"]
    assert [p for p in pids if Path(f"/proc/{p}/stat").exists()] == [], "something was left running"


def test_too_much_memory_is_the_end(here: Local) -> None:
    before, killed, after = here.look(), here.get("/eat?mb=400"), here.look()

    assert killed.status_code == 502
    assert any("are more than 300" in line for line in here.said)
    assert before["pid"] != after["pid"]


def test_a_process_that_leaves_is_a_bad_gateway_and_is_replaced(here: Local) -> None:
    before, left, after = here.look(), here.get("/leave"), here.look()

    assert left.status_code == 502
    assert before["pid"] != after["pid"]


def test_environments_are_as_many_as_allowed_and_no_more(here: Local, tmp_path: Path) -> None:
    marks = [tmp_path / "a", tmp_path / "b"]
    with ThreadPoolExecutor(3) as clients:
        both = list(clients.map(lambda _: here.get("/sleep?s=2.5"), range(2)))
        busy = [clients.submit(here.get, f"/sleep?s=5&mark={mark}") for mark in marks]
        until(lambda: all(mark.exists() for mark in marks))
        third = here.get("/look")
        again = [b.result().json()["pid"] for b in busy]

    assert len({b.json()["pid"] for b in both}) == 2
    assert {b.json()["pid"] for b in both} == set(again)
    assert third.status_code == 429


def test_events_reach_the_function_as_they_are(here: Local) -> None:
    address = f"{here.url}/2015-03-31/functions/local-api/invocations"
    warm = httpx2.post(address, json={"warm": 1}, timeout=90)
    bad = httpx2.post(address, content=b"{", timeout=90)
    later = httpx2.post(address, json={"warm": 1}, headers={"X-Amz-Invocation-Type": "Event"}, timeout=90)

    assert (warm.status_code, warm.json()["decoded"]) == (200, True)
    assert "x-amz-function-error" not in warm.headers
    assert (bad.headers["x-amz-function-error"], bad.json()["errorType"]) == ("Unhandled", "ClientError")
    assert later.status_code == 202


def test_an_environment_that_does_not_start_is_a_bad_gateway() -> None:
    with local(role="broken") as here:
        answer = here.get("/look")

    assert answer.status_code == 502


def test_a_snapshot_is_offered_where_there_are_snapshots(whole: Local, here: Local) -> None:
    assert whole.look()["pid"]
    assert here.look()["pid"]
    assert [s.api.snapshot.is_set() for s in whole.pool._all] == [True]
    assert not any(s.api.snapshot.is_set() for s in here.pool._all)


def test_an_answer_of_the_emulated_url_is_json_where_it_refuses(here: Local) -> None:
    refused = httpx2.post(here.url + "/look", content=b"x" * 7_000_000, timeout=90)

    assert json.loads(refused.content) == {"message": "Request must be smaller than 6291456 bytes"}
