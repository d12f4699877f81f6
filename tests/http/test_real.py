"""Real weights behind a real socket: the cases vLLM collected from its users."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import openai as sdk_errors
import pytest
from openai import OpenAI

from serving import FIXTURES, pcm_wav, sdk, served
from whisper_lambda.bootstrap import Service, build
from whisper_lambda.config import Settings
from whisper_lambda.errors import ModelUnavailable
from whisper_lambda.http.app import create_app
from whisper_lambda.types import SAMPLE_RATE, Options

pytestmark = pytest.mark.model

CLIPS = [FIXTURES / f"{name}.flac" for name in ("es-ss-noservice", "en-ss-noservice", "es-followme-status")]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with build(replace(Settings(), model="base", cache_mb=0)) as service:
        try:
            service.transcribe(np.zeros(SAMPLE_RATE, np.float32), Options(language="en"))
        except ModelUnavailable as why:
            pytest.skip(str(why))
        yield service


@pytest.fixture(scope="module")
def real(service: Service) -> Iterator[OpenAI]:
    with served(create_app(service, service.settings)) as address, sdk(address, timeout=300) as openai:
        yield openai


def test_a_clip_said_ten_times_is_heard_ten_times(real: OpenAI, service: Service) -> None:
    clip = service.decode(FIXTURES / "en-ss-noservice.flac").samples
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    recording = pcm_wav(np.concatenate([clip, pause] * 10))

    heard = real.audio.transcriptions.create(file=recording, model="whisper-1", language="en")

    assert heard.text.lower().count("not in service") == 10


def test_a_prompt_deletes_no_words(real: OpenAI) -> None:
    clip = FIXTURES / "es-ss-noservice.flac"
    plain = real.audio.transcriptions.create(file=clip, model="whisper-1", language="es")
    told = real.audio.transcriptions.create(
        file=clip, model="whisper-1", language="es", prompt="Mensajes de una central telefónica."
    )

    assert len(told.text.split()) >= len(plain.text.split())


def test_requests_at_once_hear_what_requests_in_turn_hear(real: OpenAI) -> None:
    def heard(clip: Any) -> str:
        return real.audio.transcriptions.create(file=clip, model="whisper-1").text

    in_turn = [heard(clip) for clip in CLIPS]
    with ThreadPoolExecutor(6) as clients:
        at_once = list(clients.map(heard, CLIPS * 2))

    assert at_once == in_turn * 2


def test_deltas_add_up_on_real_words(real: OpenAI, service: Service) -> None:
    clips = [service.decode(FIXTURES / f"{n}.flac").samples for n in ("es-tt-allbusy", "es-ss-noservice")]
    recording = pcm_wav(np.concatenate([*clips, *clips]))
    events: list[Any] = list(
        real.audio.transcriptions.create(file=recording, model="whisper-1", language="es", stream=True)
    )
    plain = real.audio.transcriptions.create(file=recording, model="whisper-1", language="es")

    deltas = [e.delta for e in events if e.type == "transcript.text.delta"]
    assert len(deltas) >= 2
    assert "".join(deltas) == events[-1].text == plain.text


def test_scores_come_from_the_model(real: OpenAI) -> None:
    heard: Any = real.audio.transcriptions.create(file=CLIPS[0], model="whisper-1", include=["logprobs"])

    assert bytes(int(b) for t in heard.logprobs for b in t.bytes).decode().strip() == heard.text
    assert all(t.logprob <= 0 for t in heard.logprobs)


def test_a_language_the_model_does_not_speak_is_refused(real: OpenAI) -> None:
    with pytest.raises(sdk_errors.BadRequestError) as refused:
        real.audio.transcriptions.create(file=CLIPS[0], model="whisper-1", language="yue")

    assert refused.value.code == "unknown_language"
