"""AWS's Runtime Interface Emulator, and the SDK through `whisper-lambda lambda-local`, on real weights."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fake_runtime_api import until
from lambda_events import http_event, multipart
from openai import OpenAI

from weights import installed

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "tests" / "fixtures" / "es-tt-allbusy.flac"
SITE = next(iter(sorted((ROOT / ".venv-aws").glob("lib/python3*/site-packages"))), Path("absent"))
EMULATOR = (
    SITE
    / "samcli"
    / "local"
    / "rapid"
    / f"aws-lambda-rie-{'arm64' if os.uname().machine == 'aarch64' else 'x86_64'}"
)
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def emulated(*command: str, **variables: str) -> Iterator[str]:
    """Run the emulator around a program; yield the address events are posted to."""
    if not EMULATOR.exists():
        pytest.skip("needs .venv-aws: make test-aws")
    installed("base")
    port, inside = free_port(), free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("WHISPER_LAMBDA_")},
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "120",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3008",
        "WHISPER_LAMBDA_MODEL": "base",
        "WHISPER_LAMBDA_LAMBDA_AUTH": "iam",
        **variables,
    }
    process = subprocess.Popen(
        [
            str(EMULATOR),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{port}",
            "--runtime-api-address",
            f"127.0.0.1:{inside}",
            *command,
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: listens(port), 30)
        yield f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def founding() -> dict[str, Any]:
    form, kind = multipart(
        {"user_id": "hernan", "model_type": "internal", "language": "es"},
        RECORDING.read_bytes(),
        RECORDING.name,
    )
    event = http_event("POST", "/transcribe", body=form, headers={"content-type": kind})
    event["requestContext"]["authorizer"] = {"iam": {"accountId": "123456789012"}}
    return event


def told(answer: dict[str, Any]) -> dict[str, Any]:
    body = answer["body"]
    return json.loads(base64.b64decode(body) if answer["isBase64Encoded"] else body)


@pytest.mark.aws
@pytest.mark.model
def test_the_founding_curl_is_heard_under_aws_own_emulator() -> None:
    command = (sys.executable, "-m", "whisper_lambda.aws", "api")
    with emulated(*command, WHISPER_LAMBDA_LAMBDA_INVOKE_MODE="buffered") as address:
        answer = httpx2.post(address, json=founding(), timeout=180).json()
        warm = httpx2.post(address, json={"warm": 1}, timeout=60).json()
        bad = httpx2.post(address, json={"hello": 1}, timeout=60).json()

    assert answer["statusCode"] == 200
    assert "representantes de la casa" in told(answer)["text"]
    assert warm["decoded"] is True
    assert bad["errorType"] == "ClientError"


@pytest.mark.aws
@pytest.mark.model
def test_what_streams_is_taken_by_the_emulator_too() -> None:
    """It passes a stream on in one piece; that it takes it at all says that the bytes are right."""
    with emulated(sys.executable, "-m", "whisper_lambda.aws", "api") as address:
        answer = httpx2.post(address, json=founding(), timeout=180).content
    head, zeros, body = answer.partition(b"\0" * 8)

    assert zeros
    assert json.loads(head)["statusCode"] == 200
    assert "representantes de la casa" in json.loads(body)["text"]


@pytest.mark.aws
@pytest.mark.model
def test_mangum_answers_the_same_under_aws_own_client() -> None:
    program = (
        f"import sys; sys.path.append({str(SITE)!r}); sys.argv = ['', 'whisper_lambda.aws.handler.handler']; "
    )
    program += "from awslambdaric.__main__ import main; main(sys.argv)"
    with emulated(sys.executable, "-c", program) as address:
        answer = httpx2.post(address, json=founding(), timeout=180).json()
        warm = httpx2.post(address, json={"warm": 1}, timeout=60).json()

    assert answer["statusCode"] == 200
    assert "representantes de la casa" in told(answer)["text"]
    assert warm["decoded"] is True


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """`whisper-lambda lambda-local` behind a key, real weights; its address and the key."""
    installed("base")
    keys = tmp_path_factory.mktemp("function") / "keys.json"
    program = [str(Path(sys.executable).with_name("whisper-lambda"))]
    key = subprocess.run(
        [*program, "keys", "add", "hernan", "--keys", str(keys)], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {**os.environ, "WHISPER_LAMBDA_MODEL": "base", "WHISPER_LAMBDA_CACHE_MB": "0"}
    process = subprocess.Popen(
        [*program, "lambda-local", "--port", "0", "--keys", str(keys), "--timeout", "120"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        yield found[0], key
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.model
def test_the_founding_curl_goes_through_the_local_function(function: tuple[str, str]) -> None:
    address, key = function
    command = ["curl", "-sS", "-H", f"Authorization: Bearer {key}", "-F", f"file=@{RECORDING}"]
    fields = ["-F", "user_id=hernan", "-F", "model_type=internal", "-F", "language=es"]
    said = subprocess.run(
        [*command, *fields, f"{address}/transcribe"], capture_output=True, text=True, check=True, timeout=180
    )
    without = httpx2.post(f"{address}/transcribe", content=b"", timeout=60)

    assert "representantes de la casa" in json.loads(said.stdout)["text"]
    assert without.status_code == 401


@pytest.mark.model
def test_the_sdk_gets_every_format_and_a_stream_through_the_local_function(function: tuple[str, str]) -> None:
    address, key = function
    with OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=180) as client:
        for wanted in FORMATS:
            heard: Any = client.audio.transcriptions.create(
                file=RECORDING, model="whisper-1", language="es", response_format=wanted
            )
            assert "representantes de la casa" in (heard if isinstance(heard, str) else heard.text), wanted
        long = ROOT / "tests" / "fixtures" / "es-tt-allbusy.flac"
        began = time.monotonic()
        times, deltas, done = [], [], ""
        for event in client.audio.transcriptions.create(
            file=longer(long), model="whisper-1", language="es", stream=True
        ):
            times.append(round(time.monotonic() - began, 2))
            if event.type == "transcript.text.delta":
                deltas.append(event.delta)
            else:
                done = event.text

    print("seconds at which the stream's events came:", times)
    assert len(deltas) >= 3
    assert "".join(deltas) == done
    assert times[0] < 0.7 * times[-1], "the first delta came with the last"


def longer(recording: Path, times: int = 6) -> tuple[str, bytes]:
    """The recording again and again, as a WAV: below what Lambda takes, longer than a batch is busy with."""
    import numpy as np

    from fakes import fake_service
    from serving import pcm_wav

    with fake_service() as service:
        samples = service.decode(recording).samples
    pause = np.zeros(16_000, np.float32)
    return "longer.wav", pcm_wav(np.concatenate([samples, pause] * times))
