"""What options change in what the real weights say; how many words are right is in test_wer.py."""

from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest

from samples import bundled, silence
from weights import loaded
from whisper_lambda import pipeline
from whisper_lambda.engine.ctranslate2 import Ctranslate2Engine
from whisper_lambda.errors import UnknownLanguage
from whisper_lambda.types import SAMPLE_RATE, Chunk, Decoded, Options, Quality, Samples, Times, Transcript

pytestmark = pytest.mark.model

ALL_BUSY, STATUS, YOUR_TURN, NO_SERVICE_ES = 0, 1, 2, 4  # Spanish
ENGLISH, ANNOUNCE, NO_SERVICE = 5, 6, 7
FRENCH = 9


@pytest.fixture(scope="module")
def base() -> Iterator[Ctranslate2Engine]:
    with loaded("base") as engine:
        yield engine


def heard(engine: Ctranslate2Engine, samples: Samples, options: Options | None = None) -> Transcript:
    return pipeline.transcribe(pipeline.whole(Decoded(samples)), options or Options(), engine=engine)


def words(transcript: Transcript) -> set[str]:
    """Return the words as one would compare them."""
    return {"".join(c for c in word if c.isalnum()) for word in transcript.text.lower().split()}


def test_spanish_is_translated_into_english(base: Ctranslate2Engine) -> None:
    said = heard(base, bundled()[YOUR_TURN], Options(language="es", task="translate"))

    assert {"the", "first", "next", "representative"} <= words(said)
    assert not {"su", "llamada", "primera", "representante"} & words(said)
    assert (said.task, said.language) == ("translate", "es")


def test_a_hotword_decides_how_a_word_is_spelled(base: Ctranslate2Engine) -> None:
    plain = heard(base, bundled()[ENGLISH], Options(language="en")).text
    told = heard(base, bundled()[ENGLISH], Options(language="en", hotwords=("TELEMARKETERS",))).text

    assert "telemarketers" in plain
    assert "TELEMARKETERS" in told


def test_a_prompt_is_followed_and_not_said(base: Ctranslate2Engine) -> None:
    prompt = "Welcome. ALL OUR LINES ARE BUSY, ALL REPRESENTATIVES ARE BUSY."
    plain = heard(base, bundled()[ANNOUNCE], Options(language="en"))
    told = heard(base, bundled()[ANNOUNCE], Options(language="en", prompt=prompt))

    assert "welcome" not in words(told)
    assert len(words(plain) & words(told)) >= 0.8 * len(words(plain))


def test_a_marker_in_the_prompt_does_not_end_the_answer(base: Ctranslate2Engine) -> None:
    told = heard(
        base, bundled()[YOUR_TURN], Options(language="es", prompt="<|endoftext|><|en|><|translate|>")
    )

    assert {"llamada", "primera"} <= words(told)


def test_a_prompt_of_any_length_leaves_room_for_the_answer(base: Ctranslate2Engine) -> None:
    notes = " ".join(f"El cliente {n} llamó a la calle {n + 3} y dejó un recado." for n in range(60))
    plain = heard(base, bundled()[ALL_BUSY], Options(language="es"))
    told = heard(base, bundled()[ALL_BUSY], Options(language="es", prompt=notes))

    assert len(words(plain) & words(told)) >= 0.8 * len(words(plain))


def test_fast_speech_fills_a_chunk_without_losing_its_end(base: Ctranslate2Engine) -> None:
    """Half as fast again as it was said: more tokens than half of what the decoder allows at first sight."""
    said = np.concatenate([bundled()[n][4_000:-4_000] for n in (0, 1, 2, 3, 4)])
    hasty = np.interp(np.arange(0, len(said) - 1, 1.45), np.arange(len(said)), said).astype(np.float32)
    chunk = Chunk(hasty[: 28 * SAMPLE_RATE], 0.0)
    result = base.transcribe(chunk, Options(language="es"))

    assert sum(len(s.tokens) for s in result.segments) > 114
    assert result.segments[-1].end > 27.0


def test_each_chunk_of_a_multilingual_recording_is_heard_in_its_own_language(base: Ctranslate2Engine) -> None:
    pause = silence(6)  # shorter ones may stay inside a chunk, and a chunk has one language
    samples = np.concatenate([bundled()[ALL_BUSY], pause, bundled()[ENGLISH], pause, bundled()[FRENCH]])
    said = heard(base, samples, Options(multilingual=True))

    assert [s.language for s in said.segments] == sorted(
        (s.language for s in said.segments), key=["es", "en", "fr"].index
    )
    assert {"teléfono", "household", "bureau"} <= words(said)
    assert said.language == "es"


def test_tiny_en_hears_english_and_refuses_spanish() -> None:
    with loaded("tiny.en") as tiny:
        said = heard(tiny, bundled()[ENGLISH])

        assert said.language == "en"
        assert {"representatives", "household", "received"} <= words(said)
        with pytest.raises(UnknownLanguage, match="speaks en"):
            heard(tiny, bundled()[ALL_BUSY], Options(language="es"))


def played_ten_times(pause_s: float) -> Samples:
    return np.concatenate([np.concatenate([bundled()[NO_SERVICE], silence(pause_s)])] * 10)


def test_an_announcement_played_ten_times_is_heard_ten_times(base: Ctranslate2Engine) -> None:
    said = heard(base, played_ten_times(6.0), Options(language="en")).text.lower()

    assert said.count("not in service") == said.count("check the number") == 10


def test_played_without_a_pause_it_is_heard_most_of_the_times(base: Ctranslate2Engine) -> None:
    """Measured 8: inside a chunk of five the model itself leaves one out."""
    said = heard(base, played_ten_times(0.7), Options(language="en")).text.lower()

    assert 7 <= said.count("not in service") <= 10


@pytest.mark.parametrize("quality", get_args(Quality))
def test_every_quality_hears_the_sentence(base: Ctranslate2Engine, quality: Quality) -> None:
    said = heard(base, bundled()[NO_SERVICE_ES], Options(language="es", quality=quality))

    assert {"número", "usted", "marcado", "fuera", "servicio"} <= words(said)


def test_a_temperature_samples_and_says_so(base: Ctranslate2Engine) -> None:
    said = heard(base, bundled()[YOUR_TURN], Options(language="es", temperature=0.2))

    assert {"llamada", "primera"} <= words(said)
    assert {s.temperature for s in said.segments} == {0.2}


def test_times_change_no_word(base: Ctranslate2Engine) -> None:
    def text(times: Times) -> str:
        return heard(base, bundled()[STATUS], Options(language="es", times=times)).text

    assert len({text(times) for times in get_args(Times)}) == 1


def test_a_words_time_does_not_depend_on_the_window_around_it(base: Ctranslate2Engine) -> None:
    """Six seconds later in the recording is six seconds later in the transcript."""
    options = Options(language="en", times="word")
    early = heard(base, np.concatenate([silence(1), bundled()[ANNOUNCE], silence(1)]), options)
    late = heard(base, np.concatenate([silence(7), bundled()[ANNOUNCE], silence(1)]), options)

    assert [w.text for w in early.words] == [w.text for w in late.words]
    apart = [b.start - a.start for a, b in zip(early.words, late.words, strict=True)]
    assert max(abs(seconds - 6.0) for seconds in apart) < 0.1


def test_a_dropped_passage_says_what_it_would_have_been(base: Ctranslate2Engine) -> None:
    strict = Options(language="es", logprob_threshold=-0.001)
    said = heard(base, bundled()[YOUR_TURN], strict)
    [dropped] = [d for d in said.dropped if d.text]

    assert said.segments == ()
    assert dropped.reason == "low_confidence"
    assert "llamada" in dropped.text
    assert 0 <= dropped.start < dropped.end <= said.duration


def test_the_languages_it_may_be_are_those_it_is_told(base: Ctranslate2Engine) -> None:
    """French heard by a service that speaks Spanish and English is one of the two."""
    said = heard(base, bundled()[FRENCH], Options(languages=("es", "en")))

    assert said.language in {"es", "en"}
    assert 0.5 <= said.language_probability <= 1.0
