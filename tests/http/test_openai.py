"""The OpenAI API through the real SDK and a real socket."""

from __future__ import annotations

import io
from typing import Any

import httpx2
import openai as sdk_errors
import pysubs2
import pytest
from openai import OpenAI

from fakes import FakeEngine
from serving import wav

SAID = "Hola a todos."


def test_json_is_the_default(openai: OpenAI) -> None:
    heard: Any = openai.audio.transcriptions.create(file=("talk.wav", wav()), model="whisper-1")

    assert heard.text == SAID
    assert heard.languages[0].code == "es"
    assert heard.usage.type == "duration"
    assert heard.usage.seconds == 2.0
    assert heard.x_receipt["audio_s"] == 2.0
    assert heard.x_model["served"] == "base"
    assert heard.x_dropped == []
    assert heard.x_warnings == []


@pytest.mark.parametrize("source", [wav(), io.BytesIO(wav()), ("talk.mp3", wav())])
def test_what_the_client_calls_its_file_does_not_matter(openai: OpenAI, source: Any) -> None:
    assert openai.audio.transcriptions.create(file=source, model="whisper-1").text == SAID


@pytest.mark.parametrize("wanted", ["text", "srt", "vtt"])
def test_text_formats_are_bodies(openai: OpenAI, wanted: Any) -> None:
    body: Any = openai.audio.transcriptions.create(file=wav(), model="whisper-1", response_format=wanted)

    assert SAID in body
    assert body.endswith("\n")
    if wanted != "text":
        assert [e.plaintext for e in pysubs2.SSAFile.from_string(body, format_=wanted)] == [SAID]


def test_verbose_json_has_every_field(openai: OpenAI) -> None:
    heard = openai.audio.transcriptions.create(
        file=wav(), model="whisper-1", response_format="verbose_json", language="es"
    )

    assert heard.language == "spanish"
    assert heard.duration == 2.0
    assert heard.words is None
    assert heard.segments is not None
    assert heard.segments[0].text == f" {SAID}"
    assert heard.segments[0].avg_logprob == -0.2
    assert heard.segments[0].seek >= 0
    assert heard.to_dict()["task"] == "transcribe"


@pytest.mark.parametrize(
    ("granularities", "segments", "words"),
    [(["segment"], True, False), (["word"], False, True), (["word", "segment"], True, True)],
)
def test_granularities_choose_what_has_times(
    openai: OpenAI, granularities: Any, segments: bool, words: bool
) -> None:
    heard = openai.audio.transcriptions.create(
        file=wav(), model="whisper-1", response_format="verbose_json", timestamp_granularities=granularities
    )

    assert (heard.segments is not None) == segments
    assert (heard.words is not None) == words


def test_words_come_without_punctuation(openai: OpenAI) -> None:
    heard = openai.audio.transcriptions.create(
        file=wav(), model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
    )

    assert heard.words is not None
    assert [w.word for w in heard.words] == ["Hola a todos"]


def test_diarized_json_tells_who_spoke_on_which_channel(openai: OpenAI) -> None:
    heard: Any = openai.audio.transcriptions.create(
        file=wav(channels=2, silent=(0,)),
        model="gpt-4o-transcribe-diarize",
        response_format="diarized_json",
        chunking_strategy="auto",
    )

    assert [s.speaker for s in heard.segments] == ["B"]
    assert heard.segments[0].type == "transcript.text.segment"
    assert heard.task == "transcribe"
    assert heard.text == SAID
    assert heard.duration == 2.0


def test_both_speakers_are_on_one_timeline(openai: OpenAI) -> None:
    heard: Any = openai.audio.transcriptions.create(
        file=wav(70, channels=2),
        model="whisper-1",
        response_format="diarized_json",
        known_speaker_names=["ana", "luis"],
    )

    starts = [s.start for s in heard.segments]
    assert {s.speaker for s in heard.segments} == {"ana", "luis"}
    assert starts == sorted(starts)
    assert heard.text == "".join(s.text for s in heard.segments).strip()


def test_one_channel_cannot_be_diarized_and_says_so(openai: OpenAI) -> None:
    with pytest.raises(sdk_errors.BadRequestError) as refused:
        openai.audio.transcriptions.create(file=wav(), model="whisper-1", response_format="diarized_json")

    assert refused.value.code == "not_separable"
    assert "channel" in refused.value.message


def test_every_parameter_reaches_the_engine(openai: OpenAI, engine: FakeEngine) -> None:
    engine.heard.clear()
    openai.audio.transcriptions.create(
        file=wav(),
        model="whisper-1",
        language="es",
        prompt="Acta de la reunión",
        temperature=0.4,
        keywords=["Quibdó", "Tadó"],
        chunking_strategy={"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 300},
        extra_body={"quality": "best", "hotwords": "Nóvita, Lloró", "beam_size": 3},
    )

    options = engine.heard[-1][1]
    assert options.language == "es"
    assert options.prompt == "Acta de la reunión"
    assert options.temperature == 0.4
    assert options.hotwords == ("Quibdó", "Tadó", "Nóvita", "Lloró")
    assert options.quality == "best"
    assert options.beam_size == 3
    assert options.vad == "on"


def test_candidates_decide_the_language(openai: OpenAI) -> None:
    heard: Any = openai.audio.transcriptions.create(file=wav(), model="whisper-1", languages=["fr", "es"])

    assert heard.languages[0].code == "fr"  # the FakeEngine takes the first candidate


@pytest.mark.parametrize("spelling", ["timestamp_granularities", "timestamp_granularities[]"])
def test_lists_may_be_spelled_with_and_without_brackets(http: httpx2.Client, spelling: str) -> None:
    answer = http.post(
        "/v1/audio/transcriptions",
        data={"response_format": "verbose_json", spelling: ["word", "segment"]},
        files={"file": wav()},
    )

    assert {"words", "segments"} <= set(answer.json())


@pytest.mark.parametrize(
    "fields",
    [
        {"chunking_strategy": '{"type": "server_vad", "threshold": 0.5}'},
        {"chunking_strategy[type]": "server_vad"},
    ],
)
def test_chunking_strategy_comes_as_json_or_in_brackets(
    http: httpx2.Client, engine: FakeEngine, fields: dict[str, str]
) -> None:
    engine.heard.clear()
    answer = http.post("/v1/audio/transcriptions", data=fields, files={"file": wav()})

    assert engine.heard[-1][1].vad == "on"
    assert answer.json()["x_warnings"] == (
        []
        if len(fields) == 1 and "[" in next(iter(fields))
        else ["chunking_strategy's threshold had no effect: pauses are found from the sound itself"]
    )


def test_translations_go_into_english(openai: OpenAI, engine: FakeEngine) -> None:
    engine.heard.clear()
    with pytest.warns(DeprecationWarning, match="deprecated"):
        heard: Any = openai.audio.translations.create(
            file=wav(), model="whisper-1", response_format="verbose_json", prompt="minutes", temperature=0
        )

    assert engine.heard[-1][1].task == "translate"
    assert heard.language == "english"
    assert heard.text == SAID
    assert heard.segments


@pytest.mark.parametrize("wanted", ["json", "text", "srt", "vtt", "verbose_json"])
def test_translations_come_in_every_format(openai: OpenAI, wanted: Any) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        heard: Any = openai.audio.translations.create(file=wav(), model="whisper-1", response_format=wanted)

    assert SAID in (heard if isinstance(heard, str) else heard.text)


def test_models_are_listed_and_described(openai: OpenAI) -> None:
    names = [m.id for m in openai.models.list()]

    assert {"whisper-1", "gpt-4o-transcribe", "internal", "base", "small", "large-v3", "turbo"} <= set(names)
    assert openai.models.retrieve("whisper-1").id == "whisper-1"
    with pytest.raises(sdk_errors.NotFoundError) as refused:
        openai.models.retrieve("nonsense")
    assert refused.value.code == "unknown_model"


def test_the_language_is_named_without_a_transcript(http: httpx2.Client, engine: FakeEngine) -> None:
    engine.heard.clear()
    told = http.post("/v1/audio/detect-language", files={"file": wav()}).json()

    assert (told["language"], told["language_name"], told["probability"]) == ("es", "spanish", 0.9)
    assert told["speech_detected"] is True
    assert engine.heard == []


def test_silence_has_no_language(http: httpx2.Client) -> None:
    told = http.post("/v1/audio/detect-language", files={"file": wav(silent=(0,))}).json()

    assert told["language"] is None
    assert told["speech_detected"] is False


def test_silence_is_an_empty_text_and_told(openai: OpenAI) -> None:
    heard: Any = openai.audio.transcriptions.create(file=wav(silent=(0,)), model="whisper-1")

    assert heard.text == ""
    assert heard.languages == []
    assert [d["reason"] for d in heard.x_dropped] == ["silence"]


def test_logprobs_are_those_of_the_texts_tokens(openai: OpenAI) -> None:
    heard: Any = openai.audio.transcriptions.create(file=wav(), model="whisper-1", include=["logprobs"])

    assert bytes(int(b) for t in heard.logprobs for b in t.bytes).decode().strip() == heard.text
    assert "".join(t.token for t in heard.logprobs).strip() == heard.text
    assert {t.logprob for t in heard.logprobs} == {-0.1}


def test_logprobs_are_streamed_too(openai: OpenAI) -> None:
    events: list[Any] = list(
        openai.audio.transcriptions.create(file=wav(), model="whisper-1", include=["logprobs"], stream=True)
    )

    for event in events:
        said = event.delta if event.type == "transcript.text.delta" else event.text
        assert "".join(t.token for t in event.logprobs).strip() == said


def test_logprobs_come_with_json_only(openai: OpenAI) -> None:
    with pytest.raises(sdk_errors.BadRequestError, match="include needs"):
        openai.audio.transcriptions.create(
            file=wav(), model="whisper-1", include=["logprobs"], response_format="verbose_json"
        )
