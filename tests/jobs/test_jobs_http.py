"""Jobs over a real socket, done by a worker in the same process, as `serve` does them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from history import recording
from http_jobs import until_ended

from fakes import FakeEngine, fake_service
from serving import client, served, wav
from whisper_lambda.cli import run
from whisper_lambda.config import Settings
from whisper_lambda.http import jobviews
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.job import Job, Order
from whisper_lambda.staffing import Office
from whisper_lambda.types import Options


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine(delay_s=0.02)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def http(engine: FakeEngine, home: Path) -> Iterator[httpx2.Client]:
    settings = Settings(home=home, jobs_poll_s=0.05, probe_every_s=0)
    with fake_service(engine, settings) as service:
        office = Office(service, settings)
        office.hire()
        with (
            served(
                create_app(service, settings, gates=Gates.of(service, settings), office=office)
            ) as address,
            client(address) as http,
        ):
            yield http
        office.close()


def handed_in(http: httpx2.Client, **fields: str) -> dict:
    answer = http.post("/v1/jobs", files={"file": ("a.wav", wav(3.0))}, data=fields)
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_a_job_is_accepted_done_and_told(http: httpx2.Client) -> None:
    job = handed_in(http, language="es")

    assert job["object"] == "job"
    assert job["status"] in {"queued", "running"}
    ended = until_ended(http, job["id"])
    assert ended["status"] == "completed"
    assert ended["progress"]["audio_s"] == ended["progress"]["done_s"] == 3.0
    assert ended["progress"]["chunks"] == ended["progress"]["chunks_done"] == 1
    assert ended["language"] == "es"
    assert ended["receipt"]["chunks"] == 1
    assert ended["expires_at"] > ended["finished_at"]


def test_a_recording_too_large_for_memory_is_kept_whole(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, upload_memory_mb=0, probe_every_s=0)
    with (
        fake_service(FakeEngine(), settings) as service,
        served(create_app(service, settings, gates=Gates.of(service, settings))) as address,
        client(address) as http,
    ):
        job = handed_in(http, language="es")
        kept = [path.stat().st_size for path in tmp_path.rglob("source*") if path.is_file()]

    assert job["status"] == "queued"  # there is no worker here
    assert kept == [len(wav(3.0))]


@pytest.mark.parametrize(
    "name", ["json", "text", "verbose_json", "srt", "vtt", "tsv", "lrc", "lrc_words", "ass"]
)
def test_the_result_is_what_a_request_would_have_answered(http: httpx2.Client, name: str) -> None:
    job = until_ended(http, handed_in(http, language="es")["id"])

    given = http.get(f"/v1/jobs/{job['id']}/result", params={"format": name})
    asked = http.post(
        "/v1/audio/transcriptions",
        files={"file": ("a.wav", wav(3.0))},
        data={"language": "es", "response_format": name},
    )

    assert given.status_code == 200
    assert given.headers["content-type"] == asked.headers["content-type"]
    assert without_times(given) == without_times(asked)


def test_a_language_in_which_nothing_is_likely_is_warned_of_every_way(
    http: httpx2.Client, engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.doubts = ("fi",)
    said = "no text is likely in fi, which was asked for: without it, it is detected"
    job = until_ended(http, handed_in(http, language="fi")["id"])
    ways = [
        http.get(f"/v1/jobs/{job['id']}/result", params={"format": name}) for name in ("verbose_json", "srt")
    ]
    for route, field in (("/v1/audio/transcriptions", "response_format"), ("/transcribe", "format")):
        for name in ("json", "verbose_json", "text"):
            data = {"language": "fi", field: name}
            ways.append(http.post(route, files={"file": ("a.wav", wav(3.0))}, data=data))
    (tmp_path / "a.wav").write_bytes(wav(3.0))
    for job_too in ([], ["--job"]):
        command = ["transcribe", *job_too, "--server", str(http.base_url), "-l", "fi"]
        assert run([*command, str(tmp_path / "a.wav")]) == 0
        assert f"a.wav: warning: {said}\n" in capsys.readouterr().err

    for answer in ways:
        beside = answer.headers.get("x-warnings")
        assert (beside == said) if beside else (answer.json()["x_warnings"] == [said]), answer.text


def without_times(answer: httpx2.Response) -> object:
    """The answer, but for what the clock put into it."""
    if "json" not in answer.headers["content-type"]:
        return answer.text
    wire = answer.json()
    return {name: value for name, value in wire.items() if name not in {"x_receipt", "x_timings"}}


def test_the_same_key_is_the_same_job_and_another_order_is_refused(http: httpx2.Client) -> None:
    first = handed_in(http, language="es", idempotency_key="once")
    again = handed_in(http, language="es", idempotency_key="once")
    other = http.post(
        "/v1/jobs",
        files={"file": ("a.wav", wav(3.0))},
        data={"language": "en"},
        headers={"Idempotency-Key": "once"},
    )

    assert again["id"] == first["id"]
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")


def test_a_list_is_paged_newest_first(http: httpx2.Client) -> None:
    ids = [handed_in(http, user_id="pages")["id"] for _ in range(3)]

    page = http.get("/v1/jobs", params={"limit": 2, "user_id": "pages"}).json()
    rest = http.get("/v1/jobs", params={"after": page["last_id"], "user_id": "pages"}).json()

    assert [job["id"] for job in (*page["data"], *rest["data"])] == ids[::-1]
    assert (page["has_more"], rest["has_more"]) == (True, False)


def test_another_users_job_is_not_there(http: httpx2.Client) -> None:
    job = handed_in(http, user_id="ana")

    for path in ("", "/result", "/events"):
        refused = http.get(f"/v1/jobs/{job['id']}{path}", params={"user_id": "bob"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "job_not_found")
    assert http.delete(f"/v1/jobs/{job['id']}").status_code == 404


def read_events(text: str) -> list[tuple[str, str, dict]]:
    events = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            events.append((lines["event"], lines.get("id", ""), json.loads(lines["data"])))
    return events


def test_events_come_in_the_recordings_order_and_go_on_where_they_were(http: httpx2.Client) -> None:
    long = recording(7, bursts=6)
    answer = http.post("/v1/jobs", files={"file": ("a.wav", long)}, data={"vad": "off", "language": "es"})
    job = answer.json()

    events = read_events(http.get(f"/v1/jobs/{job['id']}/events").text)
    segments = [(event_id, data["start"]) for kind, event_id, data in events if kind == "transcript.segment"]
    later = read_events(
        http.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": segments[2][0]}).text
    )

    assert len(segments) == 6
    assert segments == sorted(segments, key=lambda s: s[1])
    assert events[-1][0] == "job.completed"
    assert [e for _, e, _ in later if e] == [event_id for event_id, _ in segments[3:]]


def test_a_cancelled_job_stops_and_has_no_result_but_a_part(http: httpx2.Client, engine: FakeEngine) -> None:
    engine.delay_s = 1.0
    try:
        answer = http.post(
            "/v1/jobs",
            files={"file": ("a.wav", recording(8, bursts=9))},
            data={"vad": "off", "language": "es"},
        )
        job_id = answer.json()["id"]
        assert http.get(f"/v1/jobs/{job_id}/result").json()["error"]["code"] == "job_not_finished"
        while http.get(f"/v1/jobs/{job_id}").json()["progress"]["chunks_done"] < 1:
            time.sleep(0.05)
        cancelled = http.delete(f"/v1/jobs/{job_id}").json()
        heard = len(engine.heard)
        time.sleep(3.0)
    finally:
        engine.delay_s = 0.02

    assert cancelled["status"] == "cancelled"
    assert len(engine.heard) <= heard + 1  # what was under way
    assert http.get(f"/v1/jobs/{job_id}/result").json()["error"]["code"] == "job_has_no_result"
    part = http.get(f"/v1/jobs/{job_id}/result", params={"partial": "true", "format": "text"})
    assert part.status_code == 200
    assert part.text.strip()


def test_what_is_no_recording_fails_with_the_reason_a_request_gets(http: httpx2.Client) -> None:
    answer = http.post("/v1/jobs", files={"file": ("a.wav", b"no audio at all" * 100)})

    ended = until_ended(http, answer.json()["id"])

    assert ended["status"] == "failed"
    assert ended["error"]["code"] == "bad_audio"
    assert ended["error"]["type"] == "invalid_request_error"


def test_a_job_remembered_before_its_plan_is_written_can_be_looked_at() -> None:
    """What was heard of the recording before is done at once, and the plan that counts it comes after."""
    job = Job(
        id="job_1",
        tenant="",
        order=Order(options=Options()),
        source="s",
        size_bytes=1,
        created=10.0,
        state="running",
        started=11.0,
        chunks_done=2,
        done_s=31.0,
    )

    assert jobviews.progress(job, 12.0) == {
        "audio_s": None,
        "done_s": 0.0,
        "chunks": None,
        "chunks_done": 2,
        "eta_s": None,
    }


def test_a_json_body_needs_to_say_where_the_recording_is(http: httpx2.Client) -> None:
    refused = http.post("/v1/jobs", json={"language": "es"})
    bad = http.post("/v1/jobs", content=b"[1]", headers={"Content-Type": "application/json"})

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "missing_field")
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "broken_request")


def test_a_tenants_data_goes_with_his_jobs(http: httpx2.Client, home: Path) -> None:
    job = until_ended(http, handed_in(http, user_id="leaver", language="es")["id"], user_id="leaver")

    deleted = http.delete("/v1/data", params={"user_id": "leaver"})

    assert deleted.status_code == 200
    assert http.get(f"/v1/jobs/{job['id']}", params={"user_id": "leaver"}).status_code == 404
    assert not [p for p in (home / "objects").rglob("*") if job["id"] in str(p)]


def test_the_command_line_hands_in_follows_reads_and_cancels_there(
    http: httpx2.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHISPER_LAMBDA_HOME", str(tmp_path))
    there = ["--server", str(http.base_url)]
    sound = tmp_path / "a.wav"
    sound.write_bytes(wav(3.0))

    assert run(["jobs", "submit", str(sound), "-l", "es", "-f", "srt", *there]) == 0
    job_id = capsys.readouterr().out.strip()
    assert run(["jobs", "watch", job_id, *there]) == 0
    assert "completed" in capsys.readouterr().err
    assert run(["jobs", "result", job_id, *there]) == 0
    assert capsys.readouterr().out.startswith("1\n00:00:0")
    assert run(["jobs", "status", job_id, *there]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "completed"
    assert run(["jobs", "cancel", job_id, *there]) == 0
    assert "completed" in capsys.readouterr().err, "what has ended stays as it is"
    assert run(["jobs", "list", *there]) == 0
    assert job_id in capsys.readouterr().out
    assert run(["jobs", "status", "job_none", *there]) == 1
    assert "(job_not_found)" in capsys.readouterr().err


def test_a_job_by_channel_names_its_speakers(http: httpx2.Client) -> None:
    sound = wav(3.0, channels=2)
    fields = {"response_format": "diarized_json", "language": "es", "vad": "off"}
    answer = http.post("/v1/jobs", files={"file": ("a.wav", sound)}, data=fields)
    job = until_ended(http, answer.json()["id"])
    result = http.get(f"/v1/jobs/{job['id']}/result").json()
    request = http.post(
        "/v1/audio/transcriptions",
        files={"file": ("a.wav", sound)},
        data={**fields, "model": "whisper-1"},
    ).json()

    assert job["status"] == "completed", job
    assert len({segment["speaker"] for segment in result["segments"]}) == 2
    assert [s["speaker"] for s in result["segments"]] == [s["speaker"] for s in request["segments"]]
    assert result["text"] == request["text"]
