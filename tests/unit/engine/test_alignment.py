"""Word times: ordered and inside the chunk whatever the path says, near the sound where it is plain."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import silence
from whisper_lambda.engine.alignment import Alignment, loud_frames, timed_words
from whisper_lambda.types import SAMPLE_RATE, Samples, Word


def bursts(length_s: float, *sounding: tuple[float, float]) -> Samples:
    """Noise from second to second, over silence."""
    noise = np.random.default_rng(3).normal(0, 0.1, round(length_s * SAMPLE_RATE)).astype(np.float32)
    at = np.arange(len(noise)) / SAMPLE_RATE
    heard = np.zeros(len(noise), bool)
    for start, stop in sounding:
        heard |= (at >= start) & (at < stop)
    return np.where(heard, noise, np.float32(0))


def timed(samples: Samples, *words: tuple[str, float], end: float) -> tuple[Word, ...]:
    """Time one-token words of which the path tells where each starts, and where the last one ends."""
    alignment = Alignment((*(start for _, start in words), end), (0.5,) * len(words))
    return timed_words([(text, 1) for text, _ in words], alignment, samples)[0]


# --- any path, any samples ---

TEXTS = st.sampled_from([" uno", " dos", ",", ".", " ¿", "?", ' "', '"', "東", " -", " …", "ing"])


@st.composite
def decodes(draw: st.DrawFn) -> tuple[list[tuple[str, int]], Alignment, Samples]:
    """Words with their token counts, a path over a window longer than the chunk, and the chunk."""
    words = draw(st.lists(st.tuples(TEXTS, st.integers(1, 3)), max_size=12))
    tokens = sum(count for _, count in words)
    path = draw(st.lists(st.tuples(st.integers(0, tokens + 1), st.integers(0, 400)), max_size=40))
    path = sorted(path) if draw(st.booleans()) else path
    probabilities = [draw(st.floats(0, 1)) for _ in range(tokens)]
    length = draw(st.sampled_from([0, 1, 319, 15_999, 16_001, 40_007]))
    samples = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    if draw(st.booleans()):
        samples[length // 3 : length // 2] = 0
    return words, Alignment.from_path(path, probabilities), samples


@given(decodes())
def test_times_are_ordered_and_inside_the_chunk(
    decode: tuple[list[tuple[str, int]], Alignment, Samples],
) -> None:
    words, alignment, samples = decode
    made, _ = timed_words(words, alignment, samples)

    assert all(0.0 <= w.start <= w.end <= len(samples) / SAMPLE_RATE for w in made)
    assert all(a.end <= b.start for a, b in pairwise(made))
    assert all(0.0 <= w.probability <= 1.0 for w in made)


@given(decodes())
def test_no_text_and_no_token_is_lost(
    decode: tuple[list[tuple[str, int]], Alignment, Samples],
) -> None:
    words, alignment, samples = decode
    made, counts = timed_words(words, alignment, samples)

    assert "".join(w.text for w in made) == "".join(text for text, _ in words)
    assert len(counts) == len(made)
    assert sum(counts) == sum(count for _, count in words)


# --- the path ---


def test_a_token_starts_where_the_path_first_reaches_it() -> None:
    alignment = Alignment.from_path([(0, 0), (0, 10), (1, 25), (1, 26), (2, 50)], [0.9, 0.8])

    assert alignment.starts == (0.0, 0.5, 1.0)
    assert alignment.probabilities == (0.9, 0.8)


def test_what_the_path_never_reaches_starts_at_its_end() -> None:
    assert Alignment.from_path([(0, 0), (0, 50)], [0.9, 0.8]).starts == (0.0, 1.0, 1.0)
    assert Alignment.from_path([], [0.9]).starts == (0.0, 0.0)


def test_where_the_path_goes_back_no_word_begins_before_the_last_one_ends() -> None:
    sounding = bursts(2.0, (0.0, 2.0))
    made = timed(sounding, (" uno", 0.2), (" dos", 1.2), (" tres", 0.6), end=1.6)

    assert [(w.start, w.end) for w in made] == [(0.2, 1.2), (1.2, 1.2), (1.2, 1.6)]


def test_a_word_is_as_probable_as_its_tokens_are_on_average() -> None:
    alignment = Alignment((0.0, 0.5, 1.0, 1.5), (0.2, 0.4, 0.9))
    made, counts = timed_words([(" dos", 2), (" tres", 1)], alignment, bursts(1.5, (0, 1.5)))

    assert [w.probability for w in made] == [pytest.approx(0.3), 0.9]
    assert counts == (2, 1)


# --- punctuation ---


@pytest.mark.parametrize(
    ("pieces", "words"),
    [  # each as openai/whisper 20250625 `merge_punctuations` gives it
        ([" ¿", "Qué", " tal", "?"], [" ¿Qué", " tal?"]),
        ([" Hola", ",", " ¿no", "?"], [" Hola,", " ¿no?"]),
        ([" he", " said", ",", ' "', "yes", '"', "."], [" he", " said,", ' "yes".']),
        ([" (", "see", " below", ")", ":", " one"], [" (see", " below):", " one"]),
        ([" -", " one", " -", "two"], [" - one", " -two"]),
        ([" wait", ".", ".", "."], [" wait..."]),
        (["東京", "、", "大阪", "。"], ["東京、", "大阪。"]),
        ([" “", "quoted", "”", "!"], [" “quoted”!"]),
        ([" '", "tis"], [" 'tis"]),
        ([" it", "'s"], [" it", "'s"]),
        ([" $", "5", " %"], [" $", "5", " %"]),
        ([" [", "noise", "]", " end", "."], [" [noise]", " end."]),
        ([" ¿", " (", "uno", ")", "?"], [" ¿ (uno)?"]),
        ([" word", ' "'], [" word", ' "']),
        ([".", " Then"], [".", " Then"]),
        ([" He", ":", '"', " no", '"'], [' He:"', ' no"']),
        ([" said", ' "', "...", " and"], [" said", ' "...', " and"]),
        # and where we go further: more marks, and marks the tokens give no space of their own
        ([" «", "Sí", "»", "…"], [" «Sí»…"]),
        ([" ¡", "Ya", "!"], [" ¡Ya!"]),
        (['"', "Go", '"'], ['"Go"']),
        ([" well", "-", "known"], [" well", "-known"]),
    ],
)
def test_punctuation_goes_with_its_word(pieces: Sequence[str], words: Sequence[str]) -> None:
    alignment = Alignment(tuple(0.1 * n for n in range(len(pieces) + 1)), (0.9,) * len(pieces))
    made, counts = timed_words([(p, 1) for p in pieces], alignment, bursts(2.0, (0, 2.0)))

    assert [w.text for w in made] == words
    assert sum(counts) == len(pieces)


# --- the sound corrects the path ---


def test_the_first_word_starts_where_the_sound_does() -> None:
    """The path always begins at the window's start."""
    made = timed(bursts(3.0, (1.0, 2.0)), (" Hola", 0.0), (" Ana", 1.5), end=2.0)

    assert made[0].start == pytest.approx(1.0, abs=0.03)
    assert made[0].end == pytest.approx(1.5, abs=0.03)


def test_a_word_ends_where_the_pause_begins() -> None:
    """The path gives the pause to the word before it."""
    made = timed(bursts(4.0, (0.0, 1.0), (3.0, 4.0)), (" Hola", 0.0), (" Ana", 3.0), end=4.0)

    assert made[0].end == pytest.approx(1.0, abs=0.03)
    assert made[1].start == pytest.approx(3.0, abs=0.03)


def test_a_word_stretched_over_a_pause_is_where_most_of_its_sound_is() -> None:
    made = timed(bursts(3.0, (0.0, 0.1), (1.0, 2.0)), (" Hola", 0.0), end=2.0)

    assert made[0].start == pytest.approx(1.0, abs=0.03)
    assert made[0].end == pytest.approx(2.0, abs=0.03)


def test_a_short_closure_does_not_shorten_a_word() -> None:
    """The stop in the middle of `Ap-ple` is silent for a tenth of a second."""
    made = timed(bursts(2.0, (0.0, 0.4), (0.5, 1.0)), (" Apple", 0.0), end=1.0)

    assert (made[0].start, made[0].end) == (0.0, 1.0)


def test_in_silence_the_path_is_believed() -> None:
    made = timed(silence(2.0), (" Hola", 0.2), end=1.2)

    assert (made[0].start, made[0].end) == (0.2, 1.2)


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_what_sounds_is_told_by_the_chunk_itself_not_by_its_gain(gain: float) -> None:
    background = np.random.default_rng(1).normal(0, 0.0005, 3 * SAMPLE_RATE).astype(np.float32)
    loud = loud_frames(gain * (bursts(3.0, (1.0, 2.0)) + background))

    assert loud[52:98].all()
    assert not loud[:48].any()
    assert not loud[102:].any()
