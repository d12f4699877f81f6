"""The bytes the runtime sends, against a Runtime API of plain sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import threading
from dataclasses import replace

import pytest
from environments import ON_LAMBDA, environment, running
from fake_runtime_api import Told, fake_api, until
from lambda_events import http_event, multipart, recorded
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from serving import wav
from whisper_lambda.aws.runtime import run
from whisper_lambda.aws.runtime_api import RuntimeApi
from whisper_lambda.config import Settings
from whisper_lambda.errors import BadOption
from whisper_lambda.http.asking import path_of

BUFFERED = Settings(lambda_invoke_mode="buffered")


def app(
    *parts: bytes, pause_s: float = 0.0, status: int = 200, headers=(), then: BaseException | None = None
):
    """An application that answers in these parts, and then perhaps raises."""

    async def answering(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(pause_s)
        if then:
            raise then
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return answering


def answers(*events, application=None, settings=None, **how) -> list[Told]:
    """Have the loop answer these events; return what it told the API, in order."""
    with (
        fake_api(*events, **how) as api,
        environment(application, settings=settings) as env,
        running(api, env),
    ):
        until(lambda: len(api.answers()) >= len(events) and all(a.ended() for a in api.answers()))
        until(lambda: len(api.of("/next")) == len(events) + 1)
        return api.answers()


def streamed(told: Told) -> tuple[dict, bytes]:
    head, zeros, body = told.body.partition(b"\0" * 8)
    assert len(zeros) == 8
    return json.loads(head), body


def whole(told: Told) -> tuple[dict, bytes]:
    answer = json.loads(told.body)
    body = answer["body"]
    return answer, base64.b64decode(body) if answer["isBase64Encoded"] else body.encode()


def test_an_answer_streams_head_zeros_and_chunks_as_they_are_made() -> None:
    (told,) = answers(http_event(), application=app(b"one", b"two", b"three", pause_s=0.25))

    assert told.line == "POST /2018-06-01/runtime/invocation/id-1/response HTTP/1.1"
    assert told.header("content-type") == "application/vnd.awslambda.http-integration-response"
    assert told.header("lambda-runtime-function-response-mode") == "streaming"
    assert told.header("transfer-encoding") == "chunked"
    assert told.header("content-length") == ""
    times, pieces = zip(*told.chunks, strict=True)
    assert json.loads(pieces[0][:-8]) == {"statusCode": 200, "headers": {}, "cookies": []}
    assert pieces[0][-8:] == b"\0" * 8
    assert pieces[1:] == (b"one", b"two", b"three")
    assert times[2] - times[1] > 0.15, "the second chunk came with the first"
    assert times[3] - times[2] > 0.15
    assert told.raw.endswith(b"0\r\n\r\n")
    assert told.trailers == {}


def test_a_buffered_answer_is_one_json() -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"9")]
    (told,) = answers(
        http_event(), application=app("año ".encode(), b"nuev", headers=headers), settings=BUFFERED
    )
    answer, body = whole(told)

    assert not told.chunked
    assert told.header("content-type") == "application/json"
    assert (answer["statusCode"], answer["isBase64Encoded"], body.decode()) == (200, False, "año nuev")
    assert answer["headers"] == {"content-type": "text/plain; charset=utf-8"}


def test_bytes_that_are_no_text_go_out_in_base64_and_come_in_from_it() -> None:
    received = []

    async def echo(scope, receive, send) -> None:
        message = await receive()
        received.append(message["body"])
        await app(message["body"], headers=[(b"content-type", b"application/octet-stream")])(
            scope, receive, send
        )

    every = bytes(range(256)) * 40
    (told,) = answers(http_event("POST", "/x", body=every), application=echo, settings=BUFFERED)
    answer, body = whole(told)

    assert received == [every]
    assert answer["isBase64Encoded"]
    assert body == every


@pytest.mark.parametrize("mode", ["stream", "buffered"])
def test_cookies_go_apart_and_headers_that_come_twice_are_joined(mode: str) -> None:
    seen = {}

    async def cookies(scope, receive, send) -> None:
        seen.update(scope["headers"])
        headers = [
            (b"set-cookie", b"a=1; Path=/"),
            (b"set-cookie", b"b=2, with a comma"),
            (b"vary", b"Origin"),
            (b"Vary", b"Accept"),
            (b"x-latin", "é".encode("latin-1")),
        ]
        await app(b"{}", headers=headers)(scope, receive, send)

    event = http_event(cookies=("theme=dark", "session=abc"), headers={"x-many": "1,2"})
    (told,) = answers(event, application=cookies, settings=Settings(lambda_invoke_mode=mode))
    head = streamed(told)[0] if mode == "stream" else whole(told)[0]

    assert seen[b"cookie"] == b"theme=dark; session=abc"
    assert seen[b"x-many"] == b"1,2"
    assert head["cookies"] == ["a=1; Path=/", "b=2, with a comma"]
    assert head["headers"] == {"vary": "Origin, Accept", "x-latin": "é"}


def test_api_gateways_stage_is_no_part_of_the_path() -> None:
    seen = []

    async def look(scope, receive, send) -> None:
        seen.append((scope, (await receive())["body"]))
        await app()(scope, receive, send)

    answers(recorded("apigateway-v2-post-json"), recorded("function-url-iam-get"), application=look)
    (gateway, body), (url, _) = seen

    where = (path_of(gateway), gateway["path"], gateway["root_path"], gateway["method"])
    assert where == ("/v1/jobs/café", "/prod/v1/jobs/café", "/prod", "POST")
    assert gateway["raw_path"] == b"/prod/v1/jobs/caf%C3%A9"
    assert gateway["query_string"] == b"format=srt&q=a%20b"
    assert body.decode() == '{"text": "año"}'
    assert (url["path"], url["root_path"], url["query_string"]) == ("/v1/models", "", b"limit=2&limit=3")
    assert url["client"][0] == "203.0.113.7"


@pytest.mark.parametrize("stage", ["prod", "v1"])
def test_a_stage_may_be_called_as_our_routes_are(stage: str) -> None:
    event = recorded("function-url-iam-get")
    event["requestContext"]["stage"], event["rawPath"] = stage, f"/{stage}/v1/models"

    routes = Starlette(routes=[Route("/v1/models", lambda _: PlainTextResponse("here"))])
    [told] = answers(event, application=routes)

    head, body = streamed(told)
    assert (head["statusCode"], body) == (200, b"here")


def test_an_answer_that_breaks_off_ends_in_a_trailer_and_the_next_one_is_fine() -> None:
    broken, fine = answers(
        http_event(),
        http_event(path="/b"),
        application=Turns(app(b"half", then=ValueError("secret words")), app(b"ok")),
    )

    assert [c for _, c in broken.chunks[1:]] == [b"half"]
    assert (
        broken.header("trailer") == "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
    )
    assert broken.trailers["lambda-runtime-function-error-type"].startswith("WhisperLambda.")
    told = json.loads(base64.b64decode(broken.trailers["lambda-runtime-function-error-body"]))
    assert set(told) == {"errorMessage", "errorType", "stackTrace"}
    assert b"secret words" not in broken.raw + base64.b64decode(
        broken.trailers["lambda-runtime-function-error-body"]
    )
    assert streamed(fine)[1] == b"ok"
    assert fine.trailers == {}


class Turns:
    """Each request gets the next of these applications."""

    def __init__(self, *apps) -> None:
        self._apps = iter(apps)

    async def __call__(self, scope, receive, send) -> None:
        await next(self._apps)(scope, receive, send)


@pytest.mark.parametrize("mode", ["stream", "buffered"])
def test_an_application_that_raises_before_it_answers_gets_an_answer_all_the_same(mode: str) -> None:
    async def raising(scope, receive, send) -> None:
        raise ValueError("secret words")

    settings = Settings(lambda_invoke_mode=mode)
    (told,) = answers(http_event(), application=raising, settings=settings)
    head, body = streamed(told) if mode == "stream" else whole(told)

    assert head["statusCode"] == 500
    assert json.loads(body)["error"]["code"] == "internal_error"
    assert b"secret words" not in told.raw


@pytest.mark.parametrize("mode", ["stream", "buffered"])
def test_an_application_that_says_nothing_is_no_silent_success(mode: str) -> None:
    async def silent(scope, receive, send) -> None:
        return

    (told,) = answers(http_event(), application=silent, settings=Settings(lambda_invoke_mode=mode))
    head, _ = streamed(told) if mode == "stream" else whole(told)

    assert head["statusCode"] == 500


def test_a_buffered_answer_that_breaks_off_is_no_success() -> None:
    (told,) = answers(http_event(), application=app(b"half", then=ValueError()), settings=BUFFERED)
    answer, body = whole(told)

    assert answer["statusCode"] == 500
    assert b"half" not in body


def test_more_than_six_megabytes_leave_in_a_stream_and_are_refused_in_a_whole() -> None:
    parts = [b"x" * 1_000_000] * 7
    headers = [(b"content-type", b"text/plain")]
    (stream,) = answers(http_event(), application=app(*parts, headers=headers))
    (told,) = answers(http_event(), application=app(*parts, headers=headers), settings=BUFFERED)
    answer, body = whole(told)

    assert streamed(stream)[1] == b"".join(parts)
    assert answer["statusCode"] == 413
    assert json.loads(body)["error"]["code"] == "answer_too_large"
    assert len(told.raw) < 1_000


def test_four_and_a_half_megabytes_come_in_whole() -> None:
    received = []

    async def taking(scope, receive, send) -> None:
        received.append((await receive())["body"])
        await app()(scope, receive, send)

    audio = random.Random(1).randbytes(4_500_000)
    answers(http_event("POST", "/transcribe", body=audio), application=taking)

    assert received == [audio]


def test_a_client_that_leaves_is_told_to_the_application_and_the_loop_goes_on() -> None:
    left = threading.Event()

    async def endless(scope, receive, send) -> None:
        await receive()
        gone = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2_000):
            await send({"type": "http.response.body", "body": b"x" * 1_000, "more_body": True})
            if gone.done():
                break
            await asyncio.sleep(0.005)
        assert (await gone)["type"] == "http.disconnect"
        left.set()

    with (
        fake_api(http_event(), http_event(), hang_up=True) as api,
        environment(Turns(endless, app(b"ok"))) as env,
        running(api, env),
    ):
        assert left.wait(60), "nobody told the application"
        until(lambda: len(api.of("/next")) >= 3)


BAD = {
    "no JSON": b"{ not json",
    "cut short, as some emulators do": json.dumps(http_event(body=b"x" * 1000)).encode()[:400],
    "no object": b"[1, 2]",
    "null": b"null",
    "nothing known": b'{"hello": "world"}',
    "payload format 1.0": b'{"version": "1.0", "httpMethod": "GET", "requestContext": {"http": {}}}',
    "no method": b'{"version": "2.0", "requestContext": {"http": {}}, "rawPath": "/"}',
    "no path": b'{"version": "2.0", "requestContext": {"http": {"method": "GET"}}}',
    "a body that is no base64": json.dumps(http_event() | {"body": "%%%", "isBase64Encoded": True}).encode(),
    "a body that is no text": json.dumps(http_event() | {"body": {"a": 1}}).encode(),
    "half a character in the path": json.dumps(http_event() | {"rawPath": "/\ud800"}).encode(),
    "half a character in the body": json.dumps(http_event() | {"body": "\ud800"}).encode(),
    "headers that are a list": json.dumps(http_event() | {"headers": ["a"]}).encode(),
    "records of nobody": b'{"Records": [{"eventSource": "aws:sns"}]}',
    "records that are text": b'{"Records": "aws:sqs"}',
    "no bytes at all": b"",
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_event_is_a_failed_invocation_and_the_loop_goes_on(name: str) -> None:
    bad, good = answers(BAD[name], http_event(), application=app(b"ok"))

    assert bad.line.startswith("POST /2018-06-01/runtime/invocation/id-1/error")
    assert bad.header("lambda-runtime-function-error-type") == "ClientError"
    assert set(json.loads(bad.body)) == {"errorMessage", "errorType", "stackTrace"}
    assert streamed(good)[1] == b"ok"


def test_garbage_between_good_events_harms_none_of_them() -> None:
    dice = random.Random(20_261_125)
    events: list = []
    for n in range(120):
        if n % 3:
            events.append(http_event(path=f"/{n}"))
        else:
            raw = bytearray(json.dumps(http_event(body=dice.randbytes(200))).encode())
            for _ in range(dice.randint(1, 40)):
                raw[dice.randrange(len(raw))] = dice.randrange(256)
            events.append(bytes(raw))

    async def path(scope, receive, send) -> None:
        await app(scope["path"].encode())(scope, receive, send)

    told = answers(*events, application=path)

    assert len(told) == len(events)
    for n, answer in enumerate(told):
        if n % 3:
            assert streamed(answer)[1] == f"/{n}".encode()


def test_environments_side_by_side_share_nothing() -> None:
    """Twelve loops at once, each with good events and garbage: every answer is its own."""
    failures: list[BaseException] = []

    def one(name: str) -> None:
        try:
            good = [http_event(path=f"/{name}/{n}") for n in range(8)]
            mixed = [e for g in good for e in (g, b"\xff" * 50, b"{}")]

            async def path(scope, receive, send) -> None:
                await app(scope["path"].encode(), pause_s=0.002)(scope, receive, send)

            told = answers(*mixed, application=path)
            assert [streamed(t)[1].decode() for t in told[::3]] == [f"/{name}/{n}" for n in range(8)]
        except BaseException as failure:  # noqa: BLE001 - raised below, in the test's own thread
            failures.append(failure)

    threads = [threading.Thread(target=one, args=(f"e{n}",)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []


def test_a_snapshot_is_offered_before_the_first_event() -> None:
    platform = replace(ON_LAMBDA, initialization="snap-start")
    with fake_api(http_event()) as api, environment(app(b"ok")) as env, running(api, env, platform):
        until(lambda: len(api.answers()) == 1)

        assert [t.line.split()[1] for t in api.told[:2]] == [
            "/2018-06-01/runtime/restore/next",
            "/2018-06-01/runtime/invocation/next",
        ]


def test_an_environment_that_is_not_snapshotted_offers_none() -> None:
    with fake_api(http_event()) as api, environment(app(b"ok")) as env, running(api, env):
        until(lambda: len(api.answers()) == 1)

        assert api.of("/restore/next") == []


def test_what_goes_wrong_at_the_start_is_told_as_such() -> None:
    def opened():
        raise BadOption("this function has no live API key")

    with fake_api() as api:
        code = asyncio.run(run(RuntimeApi(api.address), ON_LAMBDA, opened))
        (told,) = api.told

    assert code == 1
    assert told.line == "POST /2018-06-01/runtime/init/error HTTP/1.1"
    assert told.header("lambda-runtime-function-error-type") == "ClientError"
    assert "no live API key" in json.loads(told.body)["errorMessage"]


def test_the_application_is_the_servers_and_hears() -> None:
    form, kind = multipart({"language": "es", "user_id": "hernan"}, wav(2.0))
    event = http_event("POST", "/transcribe", body=form, headers={"content-type": kind})
    with fake_api(event) as api, environment() as env, running(api, env):
        until(lambda: bool(api.answers()) and api.answers()[0].ended())
        head, body = streamed(api.answers()[0])
        until(lambda: len(api.of("/next")) == 2)
        metrics = json.loads(env.meter._out.getvalue())

    answer = json.loads(body)
    assert head["statusCode"] == 200
    assert head["headers"]["content-type"] == "application/json"
    assert head["headers"]["x-request-id"] == "id-1"
    assert answer["text"].strip() == "Please check the number and try again."
    assert (metrics["requests"], metrics["route"], metrics["function"]) == (1, "/transcribe", "api")
    assert metrics["audio_seconds"] == pytest.approx(2.0, abs=0.01)


def test_events_of_a_stream_leave_one_by_one() -> None:
    form, kind = multipart({"model": "whisper-1", "stream": "true", "language": "es"}, wav(40.0))
    event = http_event("POST", "/v1/audio/transcriptions", body=form, headers={"content-type": kind})
    (told,) = answers(event)
    head, body = streamed(told)

    assert head["headers"]["content-type"].startswith("text/event-stream")
    assert body.count(b"event: transcript.text.delta") >= 2
    assert body.count(b"event: transcript.text.done") == 1
    assert len(told.chunks) >= 4
