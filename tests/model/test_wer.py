"""Real weights on real recordings: how many words are wrong, what silence gives, what threads change."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whisper_lambda.bootstrap import Service, build
from whisper_lambda.config import Settings
from whisper_lambda.errors import ModelUnavailable
from whisper_lambda.tools.evaluate import Heard, listen, scored
from whisper_lambda.tools.manifest import Entry, read_manifest
from whisper_lambda.types import SAMPLE_RATE, Options, Samples, Segment, Transcript

pytest.importorskip("jiwer", reason="scoring needs the extra `bench`")
pytestmark = pytest.mark.model

FIXTURES = Path(__file__).parents[1] / "fixtures" / "prompts.jsonl"
MODEL = "base"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with build(replace(Settings(), model=MODEL, cache_mb=0)) as service:
        try:
            service.transcribe(np.zeros(SAMPLE_RATE, np.float32), Options(language="en"))
        except ModelUnavailable as why:
            pytest.skip(str(why))
        yield service


def heard(service: Service, entries: tuple[Entry, ...], options: Options | None = None) -> list[Heard]:
    return list(listen(entries, service.transcribe, options or Options()))


def wer(answers: list[Heard]) -> float:
    rate = scored(answers, numbers=True)[-1].rate
    assert rate is not None
    return 100 * rate.wer


def tone_in_noise(seconds: float, rms: float) -> Samples:
    """White noise: nobody speaks, and yet it is not silence."""
    noise = np.random.default_rng(5).standard_normal(round(seconds * SAMPLE_RATE)) * rms
    return noise.astype(np.float32)


def test_the_bundled_prompts_are_heard_well(service: Service) -> None:
    """Measured 5.2 %; in three languages, telephone sound, 97 words a 1 %-step."""
    answers = heard(service, read_manifest(FIXTURES))

    assert [one.error for one in answers] == [""] * len(answers)
    assert wer(answers) < 8.0


@pytest.mark.speech
def test_a_sample_of_every_short_set_is_heard_well(service: Service, speech: Path) -> None:
    """Every set gives its first two; bounds by set would be noise on so few words."""
    manifests = sorted(p for p in (speech / "open").glob("*/manifest.jsonl"))
    apart = {"longform", "song-lyrics", "nonspeech", "formats"}
    entries = tuple(e for p in manifests if p.parent.name not in apart for e in read_manifest(p)[:2])

    answers = heard(service, entries)

    assert len(answers) >= 30
    assert [one.entry.label for one in answers if one.error or one.loops or not one.in_order] == []
    assert wer(answers) < 16.0


@pytest.mark.speech
def test_the_language_is_found_where_it_is_not_told(service: Service, speech: Path) -> None:
    manifests = ("es-read", "en-ljspeech", "fr-phone-asterisk", "it-phone-asterisk", "ru-phone-asterisk")
    clips = [
        next(e for e in read_manifest(speech / "open" / name / "manifest.jsonl") if e.duration_s > 4)
        for name in manifests
    ]

    found = [service.transcribe(clip.path, Options()).language for clip in clips]

    assert found == [clip.language for clip in clips]


@pytest.mark.speech
def test_beeps_silence_and_noise_give_no_text(service: Service, speech: Path) -> None:
    """The short ones; the long ones, music on hold among them, are left to the benchmark."""
    entries = read_manifest(speech / "open" / "nonspeech" / "manifest.jsonl")

    answers = heard(service, tuple(e for e in entries if e.duration_s <= 15))

    assert len(answers) >= 8
    assert [(one.entry.label, one.text) for one in answers if one.text or one.error] == []


@pytest.mark.parametrize("seconds", [0.5, 10.0, 40.0])
def test_digital_silence_gives_no_text(service: Service, seconds: float) -> None:
    nothing = np.zeros(round(seconds * SAMPLE_RATE), np.float32)

    assert service.transcribe(nothing, Options(language="en")).text == ""


@pytest.mark.parametrize("rms", [0.001, 0.05])
def test_white_noise_gives_no_text(service: Service, rms: float) -> None:
    assert service.transcribe(tone_in_noise(12.0, rms), Options(language="en")).text == ""


def said(transcript: Transcript) -> tuple[tuple[Segment, ...], str]:
    return transcript.segments, transcript.language


def test_eight_threads_say_what_one_says_byte_for_byte(service: Service) -> None:
    """Times and scores included: what shares a batch or a core must change nothing."""
    entries = read_manifest(FIXTURES)
    options = Options(times="word")

    def transcribe(entry: Entry) -> Transcript:
        return service.transcribe(entry.path, replace(options, language=entry.language))

    alone = [said(transcribe(entry)) for entry in entries]
    with ThreadPoolExecutor(8) as threads:
        together = [said(t) for t in threads.map(transcribe, entries * 2)]

    assert all(segments for segments, _ in alone)
    assert together == alone * 2
