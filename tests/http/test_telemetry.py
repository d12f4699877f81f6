"""What is told of a request: one line and one list of metrics; no words, no names, no keys."""

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes import FakeEngine
from guarded import Guarded, guarded, wait_for
from serving import wav
from whisper_lambda import telemetry
from whisper_lambda.config import Settings
from whisper_lambda.telemetry import METRICS, TOLD, Meter, configure_logging, line_of

CANARY = "quetzalcoatl"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything logged, at DEBUG and by every library, through the formatter a server uses."""
    out = io.StringIO()
    yield from configured(Settings(log_level="debug"), out)


def configured(settings: Settings, out: io.StringIO) -> Iterator[io.StringIO]:
    names = ["", "whisper_lambda", "uvicorn", "httpx2", "httpcore2", "python_multipart"]
    before = [
        (logging.getLogger(n), logging.getLogger(n).level, logging.getLogger(n).handlers[:]) for n in names
    ]
    configure_logging(settings, out)
    logging.getLogger().setLevel(logging.DEBUG)  # louder than any setting makes it
    for name in ("httpx2", "httpcore2"):  # the test's own client
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield out
    finally:
        logging.captureWarnings(capture=False)
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers


def lines(out: io.StringIO) -> list[dict]:
    whole = out.getvalue().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def requests(out: io.StringIO, request_id: str = "") -> list[dict]:
    told = [line for line in lines(out) if line["logger"] == "whisper_lambda.request"]
    return [line for line in told if request_id in {"", line["request_id"]}]


@pytest.fixture
def server(tmp_path: Path, log: io.StringIO) -> Iterator[Guarded]:
    with guarded(
        Settings(home=tmp_path, probe_every_s=3600), FakeEngine(text=f" {CANARY} said this")
    ) as server:
        yield server


def test_a_request_is_one_line_with_what_it_was_and_cost(server: Guarded, log: io.StringIO) -> None:
    headers = {"X-API-Key": server.key("team-a"), "X-Request-ID": "trace-7"}
    answer = httpx2.post(
        f"{server.url}/transcribe", headers=headers, files={"file": ("a.wav", wav(2.0))}, timeout=120
    )
    # Written when the answer has left, perhaps after another test's, whose client had left before.
    wait_for(lambda: requests(log, "trace-7"))
    (line,) = requests(log, "trace-7")

    assert line["request_id"] == answer.headers["x-request-id"] == "trace-7"
    assert (line["tenant"], line["method"], line["route"], line["status"]) == (
        "team-a",
        "POST",
        "/transcribe",
        200,
    )
    assert line["audio_s"] == pytest.approx(2.0, abs=0.01)
    assert line["key"] in headers["X-API-Key"]
    assert headers["X-API-Key"].split("_", 2)[2] not in log.getvalue()
    assert line["received_bytes"] > line["size_bytes"] > 64_000
    assert line["sent_bytes"] == len(answer.content)
    assert {"queue_s", "decode_s", "engine_s", "rtf", "model", "model_asked", "chunks", "duration_s"} <= set(
        line
    )
    assert set(line) <= {*TOLD, "event", "level", "logger", "time"}


def every_way_to_fail(url: str, key: str) -> list[int]:
    """Send the canary in every place a client can put words, down every path that fails."""
    statuses = []
    audio, junk = wav(1.0), CANARY.encode() * 2000
    named = (f"{CANARY}.wav", audio)
    good, bad = {"X-API-Key": key}, {"X-API-Key": f"wl_00000000_{CANARY}"}
    with httpx2.Client(base_url=url, timeout=120) as http:

        def post(path: str, headers=good, **how) -> None:
            statuses.append(http.post(path, headers=headers, **how).status_code)

        for path in ("/transcribe", "/v1/audio/transcriptions", "/v1/audio/translations", "/asr", "/v1/jobs"):
            file = "audio_file" if path == "/asr" else "file"
            for fields in (
                {},
                {"language": CANARY},
                {"model": CANARY},
                {"model_type": CANARY},
                {"response_format": CANARY},
                {"format": CANARY},
                {"prompt": CANARY},
                {"prompt": CANARY, "temperature": CANARY},
                {CANARY: CANARY},
                {"url": f"https://{CANARY}.example/{CANARY}"},
                {"timestamp_granularities[]": CANARY},
                {"stream": CANARY},
                {"upload": f"upl_{CANARY}"},
                {"webhook": f"http://{CANARY}.example/"},
                {"user_id": CANARY, "idempotency_key": CANARY},
            ):
                post(path, data=fields, files={file: named})
            post(path, files={file: (f"{CANARY}.wav", junk)})
            post(path, files={file: (f"{CANARY}.wav", b"")})
            post(path, files={CANARY: named})
            post(path, headers=bad, files={file: named})
            post(path, headers={"Authorization": f"Bearer {CANARY}"}, files={file: named})
            post(
                path, headers=good | {"Content-Type": f"multipart/form-data; boundary={CANARY}"}, content=junk
            )
            post(path, headers=good | {"Content-Type": f"application/{CANARY}"}, content=junk)
            post(
                path,
                headers=good | {"Content-Type": "application/json"},
                content=json.dumps({CANARY: CANARY}),
            )
            post(f"{path}?{CANARY}={CANARY}", headers=good | {"Content-Type": "audio/wav"}, content=audio)
            post(path, headers=good | {"X-Request-ID": f"{CANARY} {CANARY}"})
            post(f"{path}/{CANARY}")
            statuses.append(
                http.get(path, headers=good | {"Cookie": CANARY, "User-Agent": CANARY}).status_code
            )
        statuses.append(http.get(f"/v1/models/{CANARY}", headers=good).status_code)
        post("/v1/uploads", json={"size_bytes": CANARY, "filename": CANARY})
        post("/v1/uploads", json={CANARY: CANARY})
        post("/v1/uploads", content=junk)
        for path in (f"/v1/jobs/{CANARY}", f"/v1/jobs/{CANARY}/result", f"/v1/uploads/{CANARY}/{CANARY}"):
            statuses.append(http.get(path, headers=good, params={CANARY: CANARY}).status_code)
            statuses.append(http.delete(path, headers=good).status_code)
        statuses.append(
            http.put(f"/v1/uploads/{CANARY}/{CANARY}?{CANARY}", headers=good, content=junk).status_code
        )
        statuses.append(http.request(CANARY.upper(), f"/{CANARY}", headers=good).status_code)
        try:
            http.post("/transcribe", headers=good, files={"file": ("a.wav", wav(60.0))}, timeout=0.05)
        except httpx2.TimeoutException:
            statuses.append(499)
    return statuses


def test_no_word_no_name_and_no_key_is_logged_however_a_request_fails(
    server: Guarded, log: io.StringIO
) -> None:
    """Over the error paths, at DEBUG, with every library speaking (P18)."""
    key = server.key(f"{CANARY[:4]}-team")
    statuses = every_way_to_fail(server.url, key)
    assert server.raw(f"{CANARY} / {CANARY}\r\n\r\n".encode())

    assert len(statuses) > 80
    wait_for(lambda: len(requests(log)) >= len(statuses))
    assert {400, 401, 404, 405} <= set(statuses)
    assert [line for line in log.getvalue().splitlines() if re.search(CANARY, line, re.IGNORECASE)] == []
    assert key.split("_", 2)[2] not in log.getvalue()
    metrics = httpx2.get(f"{server.url}/metrics").text
    assert not re.search(CANARY, metrics, re.IGNORECASE)


def test_an_engine_that_fails_with_words_in_its_message_tells_none(tmp_path: Path, log: io.StringIO) -> None:
    class Failing(FakeEngine):
        def transcribe(self, chunk, options):
            raise ValueError(f"cannot decode {CANARY}")

    with guarded(Settings(home=tmp_path, probe_every_s=3600), Failing()) as server:
        answer = httpx2.post(f"{server.url}/transcribe", files={"file": ("a.wav", wav(1.0))}, timeout=120)
        wait_for(lambda: requests(log))
        line = requests(log)[-1]

    assert answer.status_code == 500
    assert CANARY not in answer.text
    assert CANARY not in log.getvalue()
    assert (line["status"], line["code"]) == (500, "internal_error")
    assert line["error_type"] == "ValueError"
    assert any("transcribe_chunk" in frame for frame in line["where"])


def test_the_guard_on_messages_is_what_keeps_them_out() -> None:
    """The same exception, through the formatter with words allowed and without."""
    told = {}
    for words in (False, True):
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(telemetry.formatter(human=False, words=words))
        logger = logging.getLogger(f"test.{words}")
        logger.addHandler(handler)
        logger.propagate = False
        try:
            int(CANARY)
        except ValueError:
            logger.exception("failed")
        told[words] = out.getvalue()

    assert CANARY not in told[False]
    assert json.loads(told[False])["error_type"] == "ValueError"
    assert CANARY in told[True]


def test_words_are_told_where_the_operator_says_so() -> None:
    facts = {"request_id": "r", "text": CANARY, "surprise": CANARY}

    assert line_of(facts, words=False) == {"request_id": "r"}
    assert line_of(facts, words=True) == {"request_id": "r", "text": CANARY}


def test_a_server_told_to_tells_what_was_said(tmp_path: Path, log: io.StringIO) -> None:
    settings = Settings(home=tmp_path, probe_every_s=3600, log_words=True)
    with guarded(settings, FakeEngine(text=f" {CANARY}")) as server:
        httpx2.post(f"{server.url}/transcribe", files={"file": ("name.wav", wav(1.0))}, timeout=120)
        wait_for(lambda: requests(log))

    assert requests(log)[0]["text"] == CANARY
    assert "name.wav" not in log.getvalue()


def test_lines_of_libraries_carry_the_requests_id(log: io.StringIO) -> None:
    named = telemetry.REQUEST_ID.set("req_1")
    logging.getLogger("some.library").warning("look: %s", 3)
    telemetry.REQUEST_ID.reset(named)

    assert lines(log)[0] | {"time": ""} == {
        "event": "look: 3",
        "level": "warning",
        "logger": "some.library",
        "time": "",
        "request_id": "req_1",
    }


def test_libraries_are_quiet_below_warnings() -> None:
    code = (
        "import logging; from whisper_lambda.config import Settings\n"
        "from whisper_lambda.telemetry import configure_logging\n"
        "configure_logging(Settings(log_level='debug'))\n"
        "logging.getLogger('python_multipart').debug('hidden'); logging.getLogger('x').info('hidden')\n"
        "logging.getLogger('python_multipart.multipart').warning('hidden: it quotes what is broken')\n"
        "logging.getLogger('x').warning('seen'); logging.getLogger('whisper_lambda.http').debug('seen')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr

    assert (said.count("seen"), said.count("hidden")) == (2, 0)


@pytest.mark.parametrize(("form", "is_json"), [("auto", True), ("json", True), ("human", False)])
def test_lines_are_json_unless_a_person_reads_them(form: str, is_json: bool) -> None:
    out = io.StringIO()
    for _ in configured(Settings(log_format=form), out):
        logging.getLogger("whisper_lambda.request").info("request", extra={"facts": {"status": 200}})
    said = out.getvalue()

    assert said.startswith("{") == is_json
    assert "status" in said
    assert len(said.splitlines()) == 1


def test_every_metric_is_exported_once_and_counts(server: Guarded) -> None:
    httpx2.post(f"{server.url}/transcribe", files={"file": ("a.wav", wav(2.0))}, timeout=120)
    httpx2.post(f"{server.url}/transcribe", data={"language": "xx"}, files={"file": ("a.wav", wav(2.0))})
    text = httpx2.get(f"{server.url}/metrics").text
    families = {f.name.removeprefix("whisper_lambda_"): f for f in text_string_to_metric_families(text)}

    assert {m.name for m in METRICS} <= set(families)
    for metric in METRICS:
        assert families[metric.name].type == metric.kind
        labels = {name for s in families[metric.name].samples for name in s.labels} - {"le"}
        assert labels <= set(metric.labels)
    counted = {
        (s.labels["route"], s.labels["status"], s.labels["code"]): s.value
        for s in families["requests"].samples
        if s.name.endswith("_total")
    }
    assert counted[("/transcribe", "200", "")] == 1
    assert counted[("/transcribe", "400", "unknown_language")] == 1
    audio = next(s for s in families["audio_seconds"].samples if s.name.endswith("_total"))
    assert (audio.labels, audio.value) == ({"model": "base"}, pytest.approx(2.0, abs=0.01))


def test_paths_of_nowhere_are_one_label(server: Guarded) -> None:
    for n in range(20):
        httpx2.get(f"{server.url}/nowhere/{n}")
    httpx2.get(f"{server.url}/v1/models/base")
    text = httpx2.get(f"{server.url}/metrics").text
    families = {f.name: f for f in text_string_to_metric_families(text)}
    routes = {s.labels["route"] for s in families["whisper_lambda_requests"].samples}

    assert "other" in routes
    assert len(routes) == 2
    assert all("{" in route for route in routes - {"other"})


def test_two_meters_share_nothing() -> None:
    one, other = Meter(), Meter()
    one.add("clients_gone")

    assert b"clients_gone_total 1.0" in one.text()
    assert b"clients_gone_total 0.0" in other.text()


def test_metrics_are_named_for_what_they_are() -> None:
    names = [m.name for m in METRICS]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z_]+", n) for n in names)
    assert all((m.kind == "histogram") == bool(m.buckets) for m in METRICS)
    assert not [m.name for m in METRICS if m.kind == "counter" and m.name.endswith("total")]


def test_every_metric_is_in_the_manual() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    named = {m.name + ("_total" if m.kind == "counter" else "") for m in METRICS}

    assert [n for n in sorted(named) if f"`whisper_lambda_{n}`" not in page] == []
    assert [n for n in re.findall(r"`whisper_lambda_(\w+)`", page) if n not in named] == []


def test_dropped_text_and_fallbacks_are_counted() -> None:
    meter = Meter()
    facts = {"route": "/transcribe", "status": 200, "model": "base", "model_reason": "no source has small"}
    meter.count(facts | {"dropped": {"silence": 2, "repetition": 1}, "client_gone": True})
    text = meter.text().decode()

    assert 'dropped_total{reason="silence"} 2.0' in text
    assert 'fallbacks_total{model="base"} 1.0' in text
    assert "clients_gone_total 1.0" in text
