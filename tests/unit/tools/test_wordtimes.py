from __future__ import annotations

import numpy as np
import pytest

from whisper_lambda.tools.manifest import Utterance
from whisper_lambda.tools.wordtimes import first_words, onset_s, share_near
from whisper_lambda.types import SAMPLE_RATE, Word

pytest.importorskip("jiwer", reason="scoring needs the extra `bench`")

UTTERANCES = (Utterance(0.0, 2.0, "Hello there."), Utterance(3.0, 5.0, "How are you?"))


def spoken(*timed: tuple[float, str]) -> tuple[Word, ...]:
    return tuple(Word(at, at + 0.2, text, 0.9) for at, text in timed)


def test_each_utterance_is_matched_by_its_first_word() -> None:
    words = spoken((0.1, " Hello"), (0.6, " there."), (3.5, " How"), (3.8, " are"), (4.0, " you?"))

    found = first_words(words, UTTERANCES, "en")

    assert [f.heard for f in found] == ["hello", "how"]
    assert [f.late_s for f in found] == pytest.approx([0.1, 0.5])
    assert share_near(found) == 0.5


def test_a_word_missed_before_does_not_shift_the_match() -> None:
    words = spoken((0.1, " Hello"), (3.1, " How"), (3.8, " are"), (4.0, " you?"))

    assert [f.late_s for f in first_words(words, UTTERANCES, "en")] == pytest.approx([0.1, 0.1])


def test_another_word_in_its_place_still_tells_the_time() -> None:
    words = spoken((0.1, " Yellow"), (0.6, " there."), (3.1, " How"), (3.8, " are"), (4.0, " you?"))

    found = first_words(words, UTTERANCES, "en")

    assert [(f.heard, f.same) for f in found] == [("yellow", False), ("how", True)]


def test_an_utterance_whose_first_word_was_not_heard_is_left_out() -> None:
    words = spoken((0.1, " Hello"), (0.6, " there."), (3.8, " are"), (4.0, " you?"))

    assert [f.utterance.start for f in first_words(words, UTTERANCES, "en")] == [0.0]


def test_nothing_heard_gives_nothing() -> None:
    assert first_words((), UTTERANCES, "en") == ()
    assert share_near(()) == 0.0


def test_the_voice_is_found_after_the_silence_it_was_cut_with() -> None:
    random = np.random.default_rng(3)
    voice = random.standard_normal(SAMPLE_RATE).astype(np.float32) * 0.1
    quiet = random.standard_normal(SAMPLE_RATE).astype(np.float32) * 0.0005
    samples = np.concatenate([quiet, quiet[: SAMPLE_RATE // 2], voice])
    samples[SAMPLE_RATE + 1000] = 0.9  # a click is no voice

    assert onset_s(samples, Utterance(1.0, 2.5, "x")) == pytest.approx(0.5, abs=0.02)
    assert onset_s(samples, Utterance(1.5, 2.5, "x")) == pytest.approx(0.0, abs=0.02)
    assert onset_s(samples, Utterance(1.0, 1.01, "x")) == 0.0
