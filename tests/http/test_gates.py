"""What stands before the routes: keys on every one of them, bounds on what comes, pages of other sites."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import openai
import pytest
from starlette.middleware import Middleware

from fakes import fake_service
from guarded import Guarded, Patient, guarded, wait_for
from serving import wav
from whisper_lambda.config import Settings
from whisper_lambda.http import middleware, server
from whisper_lambda.http.admission import VISIT
from whisper_lambda.http.app import create_app
from whisper_lambda.http.door import KeyGate
from whisper_lambda.http.gates import Gates
from whisper_lambda.http.keys import KeyFile, new_key
from whisper_lambda.http.limits import Usage
from whisper_lambda.live.seals import Seal

FREE = {"/health/live", "/health/ready"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("home"), probe_every_s=3600, cors_origins=("https://good.example",)
    )


@pytest.fixture(scope="module")
def keyed(settings: Settings) -> Iterator[Guarded]:
    with guarded(settings) as server:
        server.key()
        yield server


@pytest.fixture(scope="module")
def unkeyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(Settings(home=tmp_path_factory.mktemp("home"), probe_every_s=3600)) as server:
        yield server


@pytest.fixture
def http(keyed: Guarded) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=keyed.url, timeout=120) as http:
        yield http


def routes(server: Guarded) -> list[tuple[str, str]]:
    paths = server.running.config.app.state.document()["paths"]
    return [
        (method.upper(), re.sub(r"{\w+}", "base", path))
        for path, methods in paths.items()
        for method in methods
        if path not in FREE
    ]


def error_of(answer: httpx2.Response) -> dict:
    assert answer.headers["x-request-id"]
    assert set(answer.json()) == {"error"}
    return answer.json()["error"]


def test_there_are_routes_to_guard(keyed: Guarded) -> None:
    assert {("POST", "/transcribe"), ("POST", "/v1/audio/transcriptions"), ("GET", "/metrics")} <= set(
        routes(keyed)
    )


def test_no_route_opens_without_a_live_key_that_covers_it(keyed: Guarded, http: httpx2.Client) -> None:
    """Every route x (no key, unknown, near miss, revoked, expired, of other scopes)."""
    good = keyed.key()
    revoked = keyed.key()
    keyed.door.revoke(revoked.split("_")[1], time.time())
    expired, key = new_key("hernan", time.time() - 10, expires=time.time() - 5)
    keyed.door.add(key)
    narrow, other = keyed.key(scopes=("jobs",)), keyed.key(scopes=("transcribe",))
    denied = {
        "": ("missing_api_key", 401),
        "sk-none": ("invalid_api_key", 401),
        good[:-2] + ("AA" if good[-2:] != "AA" else "BB"): ("invalid_api_key", 401),
        revoked: ("invalid_api_key", 401),
        expired: ("invalid_api_key", 401),
        narrow: ("insufficient_scope", 403),
    }
    for method, path in [
        *routes(keyed),
        ("GET", "/nothing/here"),
        ("POST", "/v1"),
        ("GET", "/docs/../metrics/"),
    ]:
        of_jobs = path.startswith(("/v1/jobs", "/v1/webhook_secret", "/v1/data"))
        for text, (code, status) in denied.items():
            text = other if text == narrow and of_jobs else text  # noqa: PLW2901
            # Through a proxy, so that metrics are not asked for from this machine.
            headers = {"Authorization": f"Bearer {text}".strip(), "X-Forwarded-For": "203.0.113.9"}
            answer = http.request(method, path, headers=headers)
            assert answer.status_code == status, (method, path, text)
            assert method == "HEAD" or error_of(answer)["code"] == code, (method, path, text)


def test_a_key_opens_no_more_behind_a_gateways_stage(keyed: Guarded) -> None:
    """Whatever path a route is found by, the key is asked for the scope of that route."""
    headers = {"Authorization": f"Bearer {keyed.key(scopes=('transcribe',))}"}

    async def ask(*paths: str) -> list[int]:
        app = create_app(keyed.service, keyed.service.settings, gates=keyed.gates)
        behind = httpx2.ASGITransport(app=app, root_path="/prod")
        async with httpx2.AsyncClient(transport=behind, base_url="http://localhost") as client:
            return [(await client.get(path, headers=headers)).status_code for path in paths]

    assert asyncio.run(ask("/prod/v1/models", "/prod/v1/jobs", "/prod/prod/v1/jobs")) == [200, 403, 404]


def test_a_live_key_opens_under_either_header(keyed: Guarded, http: httpx2.Client) -> None:
    text = keyed.key()
    for headers in (
        {"Authorization": f"Bearer {text}"},
        {"authorization": f"bearer  {text}"},
        {"X-API-Key": text},
    ):
        assert http.get("/v1/models", headers=headers).status_code == 200


def test_health_needs_no_key(http: httpx2.Client) -> None:
    assert http.get("/health/live").status_code == 200
    assert http.get("/health/ready").status_code in {200, 503}


def test_the_key_is_checked_before_the_body_is_read(tmp_path: Path) -> None:
    door = KeyFile(tmp_path / "keys.json")
    door.path.write_text('{"keys": []}')

    async def unreached(scope, receive, send) -> None:
        raise AssertionError("the gate is open")

    gate = KeyGate(unreached, keys=door, usage=Usage(tmp_path / "u"), seal=lambda: Seal(b"s"))
    sent = []

    async def receive():
        raise AssertionError("the body was read")

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/transcribe", "headers": [], "client": ("1.2.3.4", 5)}
    asyncio.run(gate(scope, receive, send))

    assert sent[0]["status"] == 401


def test_a_client_that_waits_for_leave_to_send_is_refused_without_it(keyed: Guarded) -> None:
    said = keyed.raw(
        b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\nExpect: 100-continue\r\n\r\n"
    )

    assert said.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in said


@pytest.mark.parametrize("megabytes", [1, 30])
def test_the_sdk_reads_why_it_was_refused_however_much_it_sends(keyed: Guarded, megabytes: int) -> None:
    with (
        openai.OpenAI(base_url=f"{keyed.url}/v1", api_key="sk-wrong", max_retries=0) as sdk,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        sdk.audio.transcriptions.create(model="whisper-1", file=("a.wav", bytes(megabytes * 1_000_000)))

    assert refused.value.code == "invalid_api_key"
    assert refused.value.request_id


def test_limits_are_the_sdks_rate_limit_error(keyed: Guarded) -> None:
    text = keyed.key(per_minute=1)
    with openai.OpenAI(base_url=f"{keyed.url}/v1", api_key=text, max_retries=0) as sdk:
        sdk.models.list()
        with pytest.raises(openai.RateLimitError) as refused:
            sdk.models.list()

    assert refused.value.code == "rate_limit_exceeded"
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60


def test_the_days_audio_ends_over_http(keyed: Guarded, http: httpx2.Client) -> None:
    headers = {"X-API-Key": keyed.key(audio_s_per_day=5)}
    codes = []
    for seconds in (3.0, 3.0, 6.0):
        answer = http.post("/transcribe", headers=headers, files={"file": ("a.wav", wav(seconds))})
        codes.append((answer.status_code, answer.json().get("error", {}).get("code")))

    assert codes == [(200, None), (429, "audio_quota_exceeded"), (413, "audio_too_long")]


def test_an_answers_body_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    settings, delays = Settings(), []

    class Looked(server.Connection):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            line = transport.get_extra_info("socket")
            delays.append(line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    with fake_service(settings=settings) as service:
        gates = Gates.of(service, settings)
        app = create_app(service, settings, gates=gates)
        listener = server.bound("127.0.0.1", 0)
        running = server.server(app, settings, gates, connection=Looked)
        thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listener])), daemon=True)
        thread.start()
        wait_for(lambda: running.started)
        httpx2.get(f"http://127.0.0.1:{listener.getsockname()[1]}/health/live")
        running.should_exit = True
        thread.join(60)

    assert delays == [1]


def test_jobs_are_counted_against_the_days_audio(keyed: Guarded, http: httpx2.Client) -> None:
    text = keyed.key(tenant="day", audio_s_per_day=5)
    key_id = text.split("_")[1]
    heard_today = keyed.gates.admission.usage.heard_today

    def handed_in(seconds: float, content: bytes | None = None, **fields: str) -> tuple[int, str]:
        files = {"file": ("a.wav", wav(seconds) if content is None else content)}
        answer = http.post("/v1/jobs", headers={"X-API-Key": text}, files=files, data=fields)
        told = answer.json()
        return answer.status_code, told["id"] if answer.status_code == 202 else told["error"]["code"]

    first = handed_in(3.0, idempotency_key="one")
    assert (first[0], heard_today(key_id)) == (202, 3.0)
    assert handed_in(3.0, idempotency_key="one") == first
    assert handed_in(1.0, idempotency_key="one") == (409, "idempotency_key_reused")
    assert handed_in(3.0) == (429, "audio_quota_exceeded")
    assert handed_in(6.0) == (413, "audio_too_long")
    assert handed_in(0.0, b"no audio") == (400, "bad_audio")
    assert heard_today(key_id) == 3.0
    files = {"file": ("a.wav", wav(3.0))}
    answer = http.post("/transcribe", headers={"X-API-Key": text}, files=files)
    assert error_of(answer)["code"] == "audio_quota_exceeded"  # one day for both


def test_a_job_that_is_not_accepted_costs_nothing_of_the_day(tmp_path: Path) -> None:
    with guarded(Settings(home=tmp_path, probe_every_s=0, jobs_tenant_most=1)) as server:
        headers = {"X-API-Key": server.key(audio_s_per_day=100)}
        files = {"file": ("a.wav", wav(3.0))}
        codes = [
            httpx2.post(f"{server.url}/v1/jobs", headers=headers, files=files, timeout=120).status_code
            for _ in range(2)
        ]

        assert codes == [202, 429]
        assert server.gates.admission.usage.heard_today(headers["X-API-Key"].split("_")[1]) == 3.0


def test_jobs_handed_in_at_once_pass_no_bound_together(tmp_path: Path) -> None:
    with guarded(Settings(home=tmp_path, probe_every_s=0, jobs_tenant_most=2)) as server:
        headers, files = {"X-API-Key": server.key(tenant="ana")}, {"file": ("a.wav", wav(3.0))}

        def hand_in(_: int) -> int:
            return httpx2.post(f"{server.url}/v1/jobs", headers=headers, files=files, timeout=120).status_code

        with ThreadPoolExecutor(8) as threads:
            codes = list(threads.map(hand_in, range(8)))
        listed = httpx2.get(f"{server.url}/v1/jobs", headers=headers).json()["data"]
        kept = [f for f in tmp_path.rglob("*") if f.is_file() and f.stat().st_size == len(wav(3.0))]

    assert sorted(codes) == [202, 202, *[429] * 6]
    assert (len(listed), len(kept)) == (2, 2)  # nor is anything left of the others


def test_a_repeat_of_an_accepted_job_is_answered_however_many_jobs_wait(tmp_path: Path) -> None:
    with guarded(Settings(home=tmp_path, probe_every_s=0, jobs_tenant_most=1)) as server:
        headers = {"X-API-Key": server.key()}

        def handed_in(key: str) -> tuple[int, str]:
            files, data = {"file": ("a.wav", wav(3.0))}, {"idempotency_key": key}
            answer = httpx2.post(
                f"{server.url}/v1/jobs", headers=headers, files=files, data=data, timeout=120
            )
            return answer.status_code, answer.json().get("id", "")

        first = handed_in("one")

        assert first[0] == 202
        assert handed_in("one") == first
        assert handed_in("two") == (429, "")


def test_a_keys_requests_at_once_are_bounded_and_given_back(tmp_path: Path) -> None:
    from fakes import FakeEngine

    engine = FakeEngine(delay_s=0.7)
    with guarded(Settings(home=tmp_path, probe_every_s=3600), engine) as server:
        headers = {"X-API-Key": server.key(concurrent=2)}
        statuses: list[int] = []

        def ask() -> None:
            files = {"file": ("a.wav", wav(1.0))}
            answer = httpx2.post(f"{server.url}/transcribe", headers=headers, files=files, timeout=120)
            statuses.append(answer.status_code)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ask()

    assert sorted(statuses) == [200, 200, 200, 429, 429]


def test_metrics_are_for_this_machine_or_their_scope(keyed: Guarded, http: httpx2.Client) -> None:
    through = {"X-Forwarded-For": "203.0.113.9"}

    assert http.get("/metrics").status_code == 200
    assert http.get("/metrics", headers=through).status_code == 401
    assert http.get("/metrics", headers=through | {"X-API-Key": keyed.key()}).status_code == 403
    metrics = keyed.key(scopes=("metrics",))
    assert http.get("/metrics", headers=through | {"X-API-Key": metrics}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_a_site_whose_name_was_made_to_lead_here_reads_no_metrics(
    keyed: Guarded, unkeyed: Guarded, host: str
) -> None:
    assert httpx2.get(f"{keyed.url}/metrics", headers={"Host": host}).status_code == 401
    assert httpx2.get(f"{unkeyed.url}/metrics", headers={"Host": host}).status_code == 401


def test_metrics_stay_closed_where_no_key_is_asked_for(unkeyed: Guarded) -> None:
    assert httpx2.get(f"{unkeyed.url}/metrics", headers={"Via": "proxy"}).status_code == 401
    assert httpx2.get(f"{unkeyed.url}/v1/models", headers={"Via": "proxy"}).status_code == 200


def test_where_no_key_is_asked_for_any_key_will_do(unkeyed: Guarded) -> None:
    assert (
        httpx2.get(f"{unkeyed.url}/v1/models", headers={"Authorization": "Bearer sk-none"}).status_code == 200
    )


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_may_not_use_a_server_without_keys(unkeyed: Guarded, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Origin": "https://evil.example"}
    answer = httpx2.post(f"{unkeyed.url}/transcribe", headers=headers, files={"file": ("a.wav", wav(1.0))})

    assert (answer.status_code, error_of(answer)["code"]) == (403, "cross_site_request")
    own = httpx2.get(f"{unkeyed.url}/v1/models", headers={"Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_nor_may_they_where_the_browser_says_only_where_a_form_comes_from(
    unkeyed: Guarded, origin: str
) -> None:
    """Old browsers do, and every browser where http leads to another machine."""
    answer = httpx2.post(
        f"{unkeyed.url}/transcribe", headers={"Origin": origin}, files={"file": ("a.wav", wav(1.0))}
    )

    assert (answer.status_code, error_of(answer)["code"]) == (403, "cross_site_request")
    own = httpx2.post(
        f"{unkeyed.url}/transcribe", headers={"Origin": unkeyed.url}, files={"file": ("a.wav", wav(1.0))}
    )
    assert own.status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("whisper.localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("192.168.1.7", 200),
    ],
)
def test_a_name_made_to_lead_here_is_not_answered_without_keys(
    unkeyed: Guarded, keyed: Guarded, host: str, status: int
) -> None:
    assert httpx2.get(f"{unkeyed.url}/v1/models", headers={"Host": host}).status_code == status
    named = httpx2.get(f"{keyed.url}/v1/models", headers={"Host": host, "X-API-Key": keyed.key()})
    assert named.status_code == 200


def test_a_named_page_may_send_and_read_the_headers_clients_use(http: httpx2.Client) -> None:
    for header in ("Idempotency-Key", "Cache-Control", "Prefer", "Last-Event-ID", "X-Stainless-Lang"):
        ask = {
            "Origin": "https://good.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": f"authorization, {header.lower()}",
        }
        assert http.options("/v1/jobs", headers=ask).status_code == 200, header
    answer = http.get("/v1/models", headers={"Origin": "https://good.example"})

    assert answer.headers["access-control-expose-headers"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


def test_no_page_may_read_answers_unless_its_origin_is_named(unkeyed: Guarded, http: httpx2.Client) -> None:
    ask = {"Origin": "https://good.example", "Access-Control-Request-Method": "POST"}
    off = httpx2.options(f"{unkeyed.url}/transcribe", headers=ask)
    assert not [name for name in off.headers if name.startswith("access-control")]

    allowed = http.options("/transcribe", headers=ask)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://good.example"
    refused = http.post("/transcribe", headers={"Origin": "https://good.example"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (
        401,
        "https://good.example",
    )
    evil = http.options("/transcribe", headers=ask | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in evil.headers


def envelope_of(said: bytes) -> tuple[int, str]:
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"x-request-id: req_" in head.lower(), said[:300]
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def test_what_is_no_http_is_refused_in_our_shape(keyed: Guarded) -> None:
    for nonsense in (
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
    ):
        assert envelope_of(keyed.raw(nonsense)) == (400, "broken_request"), nonsense


def test_more_headers_than_any_client_sends_are_refused(keyed: Guarded) -> None:
    many = b"".join(b"a%d: b\r\n" % n for n in range(middleware.MOST_HEADERS))
    said = keyed.raw(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + many + b"\r\n")
    assert envelope_of(said) == (431, "headers_too_large")

    said = keyed.raw(b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"a: b\r\n" * 1000] * 100)
    assert envelope_of(said) == (400, "broken_request")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait two seconds for a head: as long as a busy machine may take to send one, and no minute."""
    monkeypatch.setattr(Patient, "head_s", 2.0)


@pytest.mark.usefixtures("hasty")
def test_a_head_that_comes_byte_by_byte_is_not_waited_for(keyed: Guarded) -> None:
    said = keyed.raw(*[b"G", b"E", b"T", b" ", b"/"] * 4, pause_s=0.2)

    assert envelope_of(said) == (408, "request_timeout")


@pytest.mark.usefixtures("hasty")
def test_a_connection_that_says_nothing_is_closed(keyed: Guarded) -> None:
    assert keyed.raw() == b""


@pytest.mark.usefixtures("hasty")
def test_a_second_head_on_a_connection_is_timed_too(keyed: Guarded) -> None:
    ask = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    said = keyed.raw(ask, *[b"G", b"E", b"T"] * 6, pause_s=0.2)

    assert b"HTTP/1.1 408" in said


def slow_body(patience_s: float, parts: int, pause_s: float, size: int = 1) -> list[int]:
    """Send a body in parts to an app that reads it; return the statuses answered."""
    sent: list[int] = []

    async def app(scope, receive, send) -> None:
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        nonlocal parts
        parts -= 1
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": b"x" * size, "more_body": parts > 0}

    async def send(message):
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    async def run() -> None:
        try:
            bounded = middleware.Bounded(app, patience_s=patience_s)
            await bounded({"type": "http", "headers": [], "method": "POST", "path": "/"}, receive, send)
        except middleware.BodyTooSlow as slow:
            sent.append(slow.status)

    asyncio.run(run())
    return sent


def test_a_body_a_byte_at_a_time_is_given_up_and_a_steady_one_is_not() -> None:
    assert slow_body(0.3, parts=100, pause_s=0.02) == [408]
    assert slow_body(0.3, parts=2, pause_s=0.5) == [408]
    assert slow_body(2.0, parts=30, pause_s=0.1, size=400) == [200]  # three seconds, each part earning 0.2


def test_a_slow_upload_is_answered_while_others_are_served(tmp_path: Path, monkeypatch) -> None:
    """40 connections at a byte now and then; a good client beside them is answered."""
    monkeypatch.setattr(middleware.Bounded.__init__, "__kwdefaults__", {"patience_s": 3.0})
    with guarded(Settings(home=tmp_path, probe_every_s=3600)) as server:
        head = (
            b"POST /transcribe HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9999\r\n\r\n"
        )
        answers: list[bytes] = []

        def crawl() -> None:
            answers.append(server.raw(head, *[bytes([c]) for c in b"--b\r\nContent-D"], pause_s=0.4))

        crawlers = [threading.Thread(target=crawl) for _ in range(40)]
        for crawler in crawlers:
            crawler.start()
        wait_for(lambda: len(server.running.server_state.connections) >= len(crawlers))
        good = httpx2.post(f"{server.url}/transcribe", files={"file": ("a.wav", wav(1.0))}, timeout=120)
        for crawler in crawlers:
            crawler.join(60)

    assert good.status_code == 200
    assert {envelope_of(answer) for answer in answers} == {(408, "request_timeout")}


def test_a_slow_body_that_is_wrong_as_well_is_answered_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(middleware.Bounded.__init__, "__kwdefaults__", {"patience_s": 1.0})
    head = (
        b"POST /transcribe HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99\r\n\r\n"
    )
    with guarded(Settings(home=tmp_path, probe_every_s=3600)) as server:
        said = server.raw(head, b"no boundary")

    assert envelope_of(said) == (400, "broken_request")
    assert said.count(b"HTTP/1.1") == 1


def test_an_unread_body_does_not_keep_a_connection_for_ever(keyed: Guarded) -> None:
    head = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"
    said = keyed.raw(head, *[b"x"] * 40, pause_s=0.1)

    assert said.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("header", "patience_s"),
    [(None, 600.0), ("30", 30.0), ("6000", 600.0), ("nan", 600.0), ("-1", 600.0), ("soon", 600.0)],
)
def test_how_long_the_client_waits_is_what_its_sdk_says(
    tmp_path: Path, header: str | None, patience_s: float
) -> None:
    seen: list[float] = []

    async def app(scope, receive, send) -> None:
        seen.append(VISIT.get().patience_s)

    gate = KeyGate(
        app,
        keys=KeyFile(tmp_path / "k"),
        usage=Usage(tmp_path / "u"),
        seal=lambda: Seal(b"s"),
        answer_within_s=600.0,
    )
    headers = [(b"host", b"localhost")]
    headers += [(b"x-stainless-read-timeout", header.encode())] if header else []
    scope = {"type": "http", "method": "POST", "path": "/transcribe", "headers": headers}
    asyncio.run(gate(scope, None, None))

    assert seen == [patience_s]


def test_guards_are_listed_outermost_first(settings: Settings, tmp_path: Path) -> None:
    from whisper_lambda.telemetry import Meter

    listed: list[Middleware] = middleware.guards(
        settings, KeyFile(tmp_path / "k"), Usage(tmp_path / "u"), Meter(), lambda: Seal(b"s")
    )

    assert [g.cls.__name__ for g in listed] == ["Told", "Bounded", "CORSMiddleware", "KeyGate", "Drained"]


def test_half_a_request_and_gone_harms_nobody(keyed: Guarded) -> None:
    for cut in (1, 20, 90, 160):
        ask = (
            b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\nContent-Type: audio/wav\r\n\r\n"
            + b"x" * 400
        )
        with socket.create_connection(keyed.address) as line:
            line.sendall(ask[:cut])

    assert httpx2.get(f"{keyed.url}/health/live").status_code == 200
