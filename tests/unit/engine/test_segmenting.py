"""Timed words into segments: nothing lost, and cut where a reader would."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.engine.alignment import Alignment
from whisper_lambda.engine.policy import Hypothesis
from whisper_lambda.engine.segmenting import LONGEST_CHARS, LONGEST_S, PAUSE_S, segments, whole
from whisper_lambda.types import Segment, Word


def hypothesis(tokens: int, text: str = "") -> Hypothesis:
    return Hypothesis(tuple(range(100, 100 + tokens)), text, -0.25, 0.125, 0.4)


def cut(words: Sequence[Word], counts: Sequence[int] | None = None) -> tuple[Segment, ...]:
    counts = counts or [1] * len(words)
    total = sum(counts)
    alignment = Alignment(tuple(float(n) for n in range(total + 1)), (0.5,) * total)
    return segments(words, counts, hypothesis(total, "".join(w.text for w in words)), alignment)


def spoken(text: str, *, word_s: float = 0.3, pause_s: float = 0.0) -> list[Word]:
    """Say `text` at an even pace; `|` is a pause."""
    words, at = [], 0.0
    for piece in text.split():
        if piece == "|":
            at += pause_s
            continue
        words.append(Word(at, at + word_s, " " + piece, 0.9))
        at += word_s
    return words


def texts(made: Sequence[Segment]) -> list[str]:
    return [s.text.strip() for s in made]


# --- nothing lost ---


@st.composite
def timed_words(draw: st.DrawFn) -> tuple[list[Word], list[int]]:
    """Ordered words of any length, pauses of any length."""
    at, words, counts = 0.0, [], []
    for _ in range(draw(st.integers(0, 60))):
        at += draw(st.sampled_from([0.0, 0.0, 0.1, 0.4, 1.5]))
        end = at + draw(st.floats(0, 2))
        text = draw(
            st.sampled_from([" uno", " dos,", " tres.", " Sr.", '."', "東京", " " + "x" * 60, " ¿no?"])
        )
        words.append(Word(at, end, text, 0.9))
        counts.append(draw(st.integers(1, 3)))
        at = end
    return words, counts


@given(timed_words())
def test_every_word_and_token_is_in_one_segment_in_order(decode: tuple[list[Word], list[int]]) -> None:
    words, counts = decode
    made = cut(words, counts)

    assert [w for s in made for w in s.words] == words
    assert [t for s in made for t in s.tokens] == list(range(100, 100 + sum(counts)))
    assert all(s.words for s in made)


@given(timed_words())
def test_segments_are_ordered_and_short_enough_to_read(decode: tuple[list[Word], list[int]]) -> None:
    words, counts = decode
    made = cut(words, counts)

    assert all(a.end <= b.start for a, b in pairwise(made))
    assert [(s.start, s.end) for s in made] == [(s.words[0].start, s.words[-1].end) for s in made]
    for s in made:
        assert len(s.words) == 1 or (s.end - s.start <= LONGEST_S and len(s.text) <= LONGEST_CHARS)


def test_no_words_are_no_segments() -> None:
    assert cut([]) == ()


# --- where it cuts ---


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Espere, por favor. Gracias.", ["Espere, por favor.", "Gracias."]),
        ("¿Quién es? ¡Ana! Pase…", ["¿Quién es?", "¡Ana!", "Pase…"]),
        ('He said: "Go." Then he left', ['He said: "Go."', "Then he left"]),
        ("(Sí.) «No.» Bueno", ["(Sí.)", "«No.»", "Bueno"]),
        ("はい。 いいえ。", ["はい。", "いいえ。"]),
        ("ہاں۔ हाँ। yes", ["ہاں۔", "हाँ।", "yes"]),
        ("Dr. Pérez y la Sra. Gil vs. Mr. Fox", ["Dr. Pérez y la Sra. Gil vs. Mr. Fox"]),
        ("J. R. R. Tolkien wrote it. Yes", ["J. R. R. Tolkien wrote it.", "Yes"]),
        ("I know. So do I? Yes", ["I know.", "So do I?", "Yes"]),
        ("It costs 3.5 euros, no more", ["It costs 3.5 euros, no more"]),
        ("no end at all", ["no end at all"]),
    ],
)
def test_a_segment_ends_with_a_sentence(said: str, read: list[str]) -> None:
    assert texts(cut(spoken(said))) == read


def test_a_long_pause_cuts_and_a_short_one_does_not() -> None:
    words = "one two | three four"

    assert texts(cut(spoken(words, pause_s=PAUSE_S + 0.1))) == ["one two", "three four"]
    assert texts(cut(spoken(words, pause_s=PAUSE_S - 0.1))) == ["one two three four"]


def test_a_long_sentence_is_cut_at_a_comma_near_its_middle() -> None:
    said = " ".join([*["word"] * 18, "word,", *["word"] * 21])
    made = cut(spoken(said, word_s=0.4))

    assert len(made) == 2
    assert made[0].text.endswith("word,")


def test_a_long_sentence_without_commas_is_cut_at_a_pause() -> None:
    said = " ".join([*["word"] * 19, "|", *["word"] * 21])
    made = cut(spoken(said, word_s=0.4, pause_s=0.6))

    assert [len(s.words) for s in made] == [19, 21]


def test_a_long_sentence_without_either_is_halved() -> None:
    made = cut(spoken("word " * 40, word_s=0.4))

    assert [len(s.words) for s in made] == [20, 20]


def test_many_letters_are_cut_even_when_said_fast() -> None:
    made = cut(spoken("incomprehensibilities " * 12, word_s=0.3))

    assert len(made) > 1


# --- how it is scored ---


def test_a_segment_is_scored_by_its_own_tokens() -> None:
    words = spoken("Sí. No.")
    alignment = Alignment((0.0, 0.1, 0.2, 0.3), (0.5, 0.5, 0.125))
    sure, unsure = segments(words, [2, 1], hypothesis(3), alignment)

    assert sure.avg_logprob == pytest.approx(math.log(0.5), abs=1e-3)
    assert unsure.avg_logprob == pytest.approx(math.log(0.125), abs=1e-3)
    assert (sure.no_speech_prob, sure.temperature) == (0.125, 0.4)
    assert sure.compression_ratio > 0


def test_a_token_the_model_gave_no_chance_still_has_a_logprob() -> None:
    [segment] = segments(spoken("No."), [1], hypothesis(1), Alignment((0.0, 0.1), (0.0,)))

    assert math.isfinite(segment.avg_logprob)


def test_without_times_the_chunk_is_one_segment() -> None:
    [segment] = whole(hypothesis(3, " Sí. No."), 4.5)

    assert (segment.start, segment.end, segment.text) == (0.0, 4.5, " Sí. No.")
    assert segment.tokens == (100, 101, 102)
    assert segment.words == ()
    assert (segment.avg_logprob, segment.no_speech_prob, segment.temperature) == (-0.25, 0.125, 0.4)
