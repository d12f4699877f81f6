"""The Engine port: what every engine keeps. The fake one is held to it too, or its tests prove nothing."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from fakes import FakeEngine
from prompts import read_prompts
from samples import bundled, silence
from weights import loaded
from whisper_lambda.config import Settings
from whisper_lambda.errors import BadOption, EngineFailed, UnknownLanguage
from whisper_lambda.languages import LANGUAGES
from whisper_lambda.models.cascade import Cascade, Step
from whisper_lambda.ports import Engine
from whisper_lambda.types import MAX_CHUNK_S, SAMPLE_RATE, Chunk, Options, Samples, Times

REAL = pytest.param(lambda: loaded("base"), id="ctranslate2", marks=pytest.mark.model)
CASCADE = pytest.param(lambda: cascaded("tiny.en", "base"), id="cascade", marks=pytest.mark.model)
FAKE = pytest.param(lambda: nullcontext(FakeEngine()), id="fake")


@contextmanager
def cascaded(*tiers: str) -> Iterator[Engine]:
    """Put real engines together; the language of most of these tests is one the first does not know."""
    with ExitStack() as held:
        yield Cascade([Step(name, held.enter_context(loaded(name))) for name in tiers])


@pytest.fixture(scope="module", params=[REAL, CASCADE, FAKE])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    opened: Callable[[], AbstractContextManager[Engine]] = request.param
    with opened() as engine:
        yield engine


@pytest.fixture(scope="module", params=[REAL])
def real(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Engines that hear: what words depend on is no question to the fake one."""
    with request.param() as engine:
        yield engine


@pytest.fixture(scope="module", params=[pytest.param("tiny.en", marks=pytest.mark.model)])
def english_only(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with loaded(request.param) as engine:
        yield engine


SPANISH = Options(language="es")


def chunk(number: int = 2, start: float = 0.0) -> Chunk:
    return Chunk(bundled()[number], start)


# --- times ---


@pytest.mark.parametrize("times", get_args(Times))
@pytest.mark.parametrize("start", [0.0, 100.0])
def test_times_count_from_the_chunks_start_and_stay_inside_it(
    engine: Engine, times: Times, start: float
) -> None:
    result = engine.transcribe(chunk(start=start), replace(SPANISH, times=times))
    marks = [t for s in result.segments for t in (s.start, s.end)]
    words = [t for s in result.segments for w in s.words for t in (w.start, w.end)]

    assert (result.start, result.duration) == (start, chunk().duration)
    assert result.segments
    for series in (marks, words):
        assert series == sorted(series)
        assert all(0.0 <= t <= result.duration for t in series)
    assert bool(words) == (times == "word") or times == "segment"


def test_a_segments_words_are_its_text(engine: Engine) -> None:
    for segment in engine.transcribe(chunk(), replace(SPANISH, times="word")).segments:
        assert "".join(w.text for w in segment.words) == segment.text


def test_dropped_passages_are_inside_the_chunk_too(engine: Engine) -> None:
    for heard in (chunk(), Chunk(noise(3.0), 50.0, unsure=True)):
        for dropped in engine.transcribe(heard, SPANISH).dropped:
            assert 0.0 <= dropped.start <= dropped.end <= heard.duration


# --- what is heard is a function of samples, options and version ---


def test_where_a_chunk_begins_changes_nothing_else(engine: Engine) -> None:
    here, there = (engine.transcribe(chunk(start=s), SPANISH) for s in (0.0, 777.25))

    assert here == replace(there, start=0.0)


def test_eight_threads_hear_what_one_does_byte_for_byte(engine: Engine) -> None:
    """With equal crops, which share a batch, and with prompts, which must not reach a neighbour.

    tests/model/test_wer.py does the same to whole recordings.
    """
    languages = [prompt.language for prompt in read_prompts()]
    mixed = [(chunk(n), languages[n]) for n in (2, 5, 9)]
    mixed += [(Chunk(bundled()[0][: 5 * SAMPLE_RATE], n), "es") for n in range(3)]
    chunks = [heard for heard, _ in mixed]
    wishes = [
        Options(language=language, times="word", prompt="" if n % 3 else "Central.")
        for n, (_, language) in enumerate(mixed)
    ]
    alone = list(map(engine.transcribe, chunks, wishes))
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(engine.transcribe, chunks * 2, wishes * 2))

    assert together == alone * 2


def test_samples_are_not_written_to(engine: Engine) -> None:
    before = bundled()[2].copy()
    engine.transcribe(chunk(), SPANISH)

    assert np.array_equal(bundled()[2], before)


def test_the_version_names_the_model(engine: Engine, english_only: Engine) -> None:
    assert engine.version
    assert engine.version == engine.version
    assert engine.version != english_only.version


# --- where nobody speaks ---


def noise(seconds: float, rms: float = 0.02) -> Samples:
    return np.random.default_rng(2).normal(0, rms, round(seconds * SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("seconds", "unsure"), [(1 / SAMPLE_RATE, True), (0.02, True), (2.0, False), (MAX_CHUNK_S, True)]
)
def test_silence_gives_no_segment_and_no_failure(real: Engine, seconds: float, unsure: bool) -> None:
    result = real.transcribe(Chunk(silence(seconds), 0.0, unsure), SPANISH)

    assert result.segments == ()


def test_noise_gives_no_segment_and_says_why(real: Engine) -> None:
    result = real.transcribe(Chunk(noise(6.0), 0.0, unsure=True), SPANISH)

    assert result.segments == ()
    assert [d.reason for d in result.dropped] != []


# --- language ---


def test_the_language_is_named_with_a_probability(engine: Engine) -> None:
    guess = engine.detect_language(chunk())

    assert guess.language == "es"
    assert 0.5 < guess.probability <= 1.0


def test_the_language_is_one_of_the_candidates(engine: Engine) -> None:
    guess = engine.detect_language(chunk(), ("fr", "en"))

    assert guess.language in {"fr", "en"}
    assert 0.0 < guess.probability <= 1.0


def test_languages_are_whispers_codes(engine: Engine) -> None:
    assert {"es", "en", "fr"} <= engine.languages <= set(LANGUAGES)


def test_a_result_names_the_language_it_was_heard_in(real: Engine) -> None:
    assert real.transcribe(chunk(), SPANISH).language == "es"
    assert real.transcribe(chunk(8), Options(multilingual=True)).language == "fr"


def test_a_language_the_model_does_not_speak_is_refused(real: Engine, english_only: Engine) -> None:
    with pytest.raises(UnknownLanguage):
        real.transcribe(chunk(), Options(language="xx"))
    with pytest.raises(UnknownLanguage):
        english_only.transcribe(chunk(), SPANISH)


def test_an_english_only_model_speaks_english_and_needs_not_be_told(english_only: Engine) -> None:
    assert english_only.languages == {"en"}
    assert english_only.detect_language(chunk()).language == "en"
    assert "available" in english_only.transcribe(chunk(6), Options()).segments[-1].text


def test_an_english_only_model_cannot_translate(english_only: Engine) -> None:
    with pytest.raises(BadOption, match=r"tiny\.en"):
        english_only.transcribe(chunk(), Options(task="translate", language="en"))


# --- the end ---


@pytest.mark.model
def test_a_closed_engine_refuses() -> None:
    with loaded("base", Settings(threads=1)) as engine:
        engine.close()
        with pytest.raises(EngineFailed):
            engine.transcribe(chunk(), SPANISH)
        with pytest.raises(EngineFailed):
            engine.detect_language(chunk())


@pytest.mark.model
def test_calls_under_way_finish_when_the_engine_closes() -> None:
    with loaded("base", Settings(threads=1)) as engine, ThreadPoolExecutor(4) as threads:
        alone = engine.transcribe(chunk(), SPANISH)
        calls = [threads.submit(engine.transcribe, chunk(), SPANISH) for _ in range(4)]
        time.sleep(0.1)  # a chunk takes longer
        engine.close()

        assert [call.result(30) for call in calls] == [alone] * 4


def test_what_it_costs_to_keep_is_known(real: Engine, english_only: Engine) -> None:
    assert 50_000_000 < english_only.memory_bytes < real.memory_bytes + 10_000_000 < 2_000_000_000
