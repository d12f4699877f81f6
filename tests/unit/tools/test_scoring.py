from __future__ import annotations

import pytest

from whisper_lambda.tools.scoring import (
    error_rate,
    loops,
    normalise,
    open_brackets,
    times_in_order,
)
from whisper_lambda.types import Segment, Transcript, Word

pytest.importorskip("jiwer", reason="scoring needs the extra `bench`")
pytest.importorskip("whisper_normalizer", reason="scoring needs the extra `bench`")


def segment(start: float, end: float, words: tuple[Word, ...] = ()) -> Segment:
    return Segment(start, end, " hello", -0.2, 0.01, 1.0, words=words)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Mr. Smith paid twenty-one dollars.", "en", "mister smith paid $21"),
        ("¿Qué tal, señor?", "es", "qué tal señor"),
        ("客観的実在。", "ja", "客 観 的 実 在"),
        ("Привет, мир!", "ru", "привет мир"),
        ("colour", None, "color"),
    ],
)
def test_each_language_has_its_normaliser(text: str, language: str | None, expected: str) -> None:
    assert normalise(text, language) == expected


def test_number_words_are_folded_only_when_asked() -> None:
    assert normalise("Pulse uno o dos", "es") == "pulse uno o dos"
    assert normalise("Pulse uno o dos", "es", numbers=True) == "pulse 1 o 2"
    assert normalise("Нажмите один", "ru", numbers=True) == "нажмите один"


def test_accents_are_folded_only_where_the_source_has_none() -> None:
    assert normalise("contraseña", "es") == "contraseña"
    assert normalise("contraseña", "es", fold_diacritics=True) == "contrasena"


def test_brackets_of_a_reference_are_opened_since_it_was_spoken() -> None:
    assert normalise("Speech (Conversión)", "es") == "speech"
    assert normalise(open_brackets("Speech (Conversión)"), "es") == "speech conversión"


def test_rates_are_of_the_corpus_and_not_a_mean_of_files() -> None:
    rate = error_rate(["a", "a b c d e f g h i"], ["b", "a b c d e f g h i"])

    assert rate.words == 10
    assert rate.wer == pytest.approx(0.1)


def test_invented_words_can_take_the_rate_above_one() -> None:
    assert error_rate(["a"], ["a b c"]).wer == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ask what you can " * 5, 1),
        ("ask what you can " * 4, 0),
        ("no " * 19, 0),
        ("no " * 20, 1),
        ("ask what you can do for your country " * 5, 1),
        ("one two three " * 7, 1),
        ("x y z w " * 5 + "then something else was said and " + "ja " * 30, 2),
        ("the quick brown fox jumps over the lazy dog and runs away from all of the hounds again", 0),
    ],
)
def test_a_loop_is_a_phrase_five_times_over_twenty_words(text: str, expected: int) -> None:
    assert loops(text, "es") == expected


def test_a_loop_without_spaces_is_seen_too() -> None:
    assert loops("ご視聴" * 8, "ja") == 1


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ((segment(0, 1), segment(1, 2)), True),
        ((segment(1, 2), segment(0.5, 3)), False),
        ((segment(2, 1),), False),
        ((segment(0, 3.5),), False),
        ((segment(-1, 1),), False),
        ((segment(0, 2, (Word(1.0, 1.2, " b", 0.9), Word(0.2, 0.4, " a", 0.9))),), False),
        ((segment(0, 2, (Word(0.2, 0.4, " a", 0.9), Word(1.0, 1.2, " b", 0.9))),), True),
        ((), True),
    ],
)
def test_times_run_forward_inside_the_recording(segments: tuple[Segment, ...], expected: bool) -> None:
    assert times_in_order(Transcript(segments, "en", 3.0)) is expected
