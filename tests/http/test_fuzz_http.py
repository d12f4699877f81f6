"""Broken recordings and broken bodies over HTTP: no 5xx, no hang, and every refusal in the envelope (P1).

2,000 by default, as many as $MUTANTS says otherwise (`make fuzz`: 20,000).
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import pytest
from recordings import encoded, speechlike
from test_fuzz_decode import SEEDS, mutant

from fakes import fake_service
from serving import client, served
from whisper_lambda.config import Settings
from whisper_lambda.http.app import create_app

MUTANTS = int(os.environ.get("MUTANTS", "2000"))
ENVELOPE = {"message", "type", "param", "code"}
LONGEST_S = 5.0
HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="language"\r\n\r\nes\r\n--b\r\n'
    b'Content-Disposition: form-data; name="response_format"\r\n\r\nverbose_json\r\n--b\r\n'
    b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
)
TAIL = b"\r\n--b--\r\n"


def bodies(number: int, contents: list[bytes]) -> bytes:
    """Return the number's body: a whole form around a broken recording, or now and then a broken form."""
    random = np.random.default_rng([11, number])
    content = contents[number % len(contents)]
    if number % 4:
        return HEAD + mutant(content, random) + TAIL
    return bytes(mutant(HEAD, random)) + content + TAIL


@pytest.mark.skipif(sys.platform != "linux", reason="counts on a limit of address space")
def test_fuzz_mutants_over_http_are_answered_in_type() -> None:
    sound = speechlike(1.5, 48_000)
    contents = [
        encoded(sound[:: 48_000 // rate][: round(rate * 0.7)], container, codec, rate=rate)
        for container, codec, rate in SEEDS.values()
    ]
    settings = Settings(max_audio_s=30.0, decode_timeout_s=LONGEST_S, queue=1000)
    with fake_service(settings=settings) as service, served(create_app(service, settings)) as address:

        def asked(number: int) -> tuple[int, bool, float]:
            began = time.perf_counter()
            answer = https[number % 4].post(
                "/v1/audio/transcriptions",
                content=bodies(number, contents),
                headers={"Content-Type": "multipart/form-data; boundary=b"},
            )
            sound_shape = answer.status_code == 200 or set(json.loads(answer.content)["error"]) == ENVELOPE
            return answer.status_code, sound_shape, time.perf_counter() - began

        https: list[httpx2.Client] = [client(address) for _ in range(4)]
        try:
            with ThreadPoolExecutor(2) as threads:
                outcomes = list(threads.map(asked, range(MUTANTS)))
        finally:
            for http in https:
                http.close()

    statuses = [status for status, _, _ in outcomes]
    assert max(statuses) < 500
    assert all(sound_shape for _, sound_shape, _ in outcomes)
    assert max(took_s for _, _, took_s in outcomes) < 2 * LONGEST_S
    assert statuses.count(200) > MUTANTS / 20, "the mutants are too broken to test anything"
    assert statuses.count(400) > MUTANTS / 20, "the mutants are too whole to test anything"
