"""Jobs over a real socket, done by a worker in the same process, as `serve` does them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from http_jobs import until_ended

from fakes import FakeEngine, fake_service
from serving import client, served, wav
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app
from whisper_lambda.http.gates import Gates
from whisper_lambda.staffing import Office


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine(delay_s=0.02)


@pytest.fixture(scope="module")
def http(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), jobs_poll_s=0.05, probe_every_s=0)
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


def without_times(answer: httpx2.Response) -> object:
    """The answer, but for what the clock put into it."""
    if "json" not in answer.headers["content-type"]:
        return answer.text
    wire = answer.json()
    return {name: value for name, value in wire.items() if name not in {"x_receipt", "x_timings"}}
