"""Broken recordings and broken bodies over HTTP: no 5xx, no hang, and every refusal in the envelope (P1).

2,000 by default, as many as $MUTANTS says otherwise (`make fuzz`: 20,000). Run as a program it prints
what docs/fuzz.md holds (PYTHONPATH=tests:tests/http:tests/unit/audio).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
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


def fuzz(count: int) -> tuple[Counter[tuple[int, str]], int, float]:
    """Send `count` bodies, two at a time.

    Returns:
        How often each status came with which code; answers out of shape; seconds of the slowest.
    """
    sound = speechlike(1.5, 48_000)
    contents = [
        encoded(sound[:: 48_000 // rate][: round(rate * 0.7)], container, codec, rate=rate)
        for container, codec, rate in SEEDS.values()
    ]
    settings = Settings(max_audio_s=30.0, decode_timeout_s=LONGEST_S, queue=1000)
    with fake_service(settings=settings) as service, served(create_app(service, settings)) as address:

        def asked(number: int) -> tuple[int, str, bool, float]:
            began = time.perf_counter()
            answer = https[number % 4].post(
                "/v1/audio/transcriptions",
                content=bodies(number, contents),
                headers={"Content-Type": "multipart/form-data; boundary=b"},
            )
            took_s = time.perf_counter() - began
            if answer.status_code == 200:
                return 200, "heard", True, took_s
            error = json.loads(answer.content)["error"]
            return answer.status_code, error["code"], set(error) == ENVELOPE, took_s

        https: list[httpx2.Client] = [client(address) for _ in range(4)]
        try:
            with ThreadPoolExecutor(2) as threads:
                outcomes = list(threads.map(asked, range(count)))
        finally:
            for http in https:
                http.close()
    answers = Counter((status, code) for status, code, _, _ in outcomes)
    misshapen = sum(not sound_shape for _, _, sound_shape, _ in outcomes)
    return answers, misshapen, max(took_s for _, _, _, took_s in outcomes)


@pytest.mark.skipif(sys.platform != "linux", reason="counts on a limit of address space")
def test_fuzz_mutants_over_http_are_answered_in_type() -> None:
    answers, misshapen, slowest_s = fuzz(MUTANTS)

    statuses: Counter[int] = Counter()
    for (status, _), times in answers.items():
        statuses[status] += times
    assert statuses.total() == MUTANTS
    assert max(statuses) < 500
    assert misshapen == 0
    assert slowest_s < 5 * LONGEST_S, "a decoder was waited for beyond its time"
    assert statuses[200] > MUTANTS / 20, "the mutants are too broken to test anything"
    assert statuses[400] > MUTANTS / 20, "the mutants are too whole to test anything"


if __name__ == "__main__":
    began = time.perf_counter()
    found, wrong, slowest = fuzz(MUTANTS)
    for (status, code), times in found.most_common():
        print(f"| {status} `{code}` | {times:,} |")
    print(f"{wrong} out of shape, slowest {slowest:.2f} s, {time.perf_counter() - began:.0f} s in all")
