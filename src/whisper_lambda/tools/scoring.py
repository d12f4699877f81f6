"""Reference and hypothesis in, error rates out: corpus WER and CER after Whisper's own normalisers.

The rules, which docs/evaluation.md repeats for readers of figures:
English goes through EnglishTextNormalizer, every other language through BasicTextNormalizer;
languages written without spaces are split into letters, so their WER is a rate of characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from whisper_lambda.tools.extras import needed
from whisper_lambda.types import Transcript

NORMALISER = "Whisper's EnglishTextNormalizer (en), BasicTextNormalizer (others)"
NO_SPACES = frozenset({"ja", "zh", "th", "lo", "my", "yue"})
LOOP_REPEATS = 5  # a phrase said this often in a row ...
LOOP_WORDS = 20  # ... and filling this many words is a loop: 4-grams x 5 and all longer ones
LOOP_PHRASE = 12  # words of the longest phrase looked for

# Zero to ten as spoken; Whisper often writes the digit where the reference has the word.
_NUMBERS = {
    "es": "cero un|uno|una dos tres|trés cuatro cinco seis siete ocho nueve diez",
    "fr": "zéro un|une deux trois quatre cinq six sept huit neuf dix",
    "it": "zero uno|un|una due tre quattro cinque sei sette otto nove dieci",
    "pt": "zero um|uma dois|duas três quatro cinco seis sete oito nove dez",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn",
}
_BRACKETS = re.compile(r"[()\[\]{}<>]")


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Word and character errors over a whole corpus."""

    words: int  # in the references
    substitutions: int
    insertions: int
    deletions: int
    cer: float

    @property
    def wer(self) -> float:
        """Errors for each reference word; above 1 when more is invented than was said."""
        return (self.substitutions + self.insertions + self.deletions) / max(1, self.words)


@cache
def _normalisers() -> tuple[Any, Any, Any]:
    basic = needed("whisper_normalizer.basic").BasicTextNormalizer
    english = needed("whisper_normalizer.english").EnglishTextNormalizer
    return english(), basic(), basic(split_letters=True)


@cache
def _digits(language: str) -> dict[str, str]:
    words = _NUMBERS.get(language, "").split()
    return {without_accents(w): str(n) for n, said in enumerate(words) for w in said.split("|")}


def without_accents(text: str) -> str:
    """Return `text` with every combining mark removed."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def normalise(
    text: str, language: str | None, *, numbers: bool = False, fold_diacritics: bool = False
) -> str:
    """Return the words of `text` as they are compared.

    Args:
        text: a hypothesis, or a reference through `open_brackets`.
        language: ISO 639-1; None is scored as English.
        numbers: fold the words for 0-10 to digits in es, fr, it, pt and de.
        fold_diacritics: remove accents, where the reference was written without them.
    """
    english, basic, letters = _normalisers()
    if fold_diacritics:
        text = without_accents(text)
    if language in (None, "en"):
        return str(english(text)).strip()
    if language in NO_SPACES:
        return str(letters(text)).strip()
    words = str(basic(unicodedata.normalize("NFC", text))).split()
    if numbers:
        digits = _digits(language or "")
        words = [digits.get(without_accents(w), w) for w in words]
    return " ".join(words)


def open_brackets(text: str) -> str:
    """Return a reference with its brackets removed: Whisper's normalisers would delete what they hold."""
    return _BRACKETS.sub(" ", text)


def error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRate:
    """Score a corpus of normalised texts, none of the references empty."""
    jiwer = needed("jiwer")
    counts = jiwer.process_words(list(references), list(hypotheses))
    return ErrorRate(
        words=counts.hits + counts.substitutions + counts.deletions,
        substitutions=counts.substitutions,
        insertions=counts.insertions,
        deletions=counts.deletions,
        cer=float(jiwer.cer(list(references), list(hypotheses))),
    )


def loops(text: str, language: str | None = "en") -> int:
    """Count stretches where the decoder repeated itself.

    A loop is a phrase of up to twelve words said at least five times in a row over at least
    twenty words; so four words five times, one word twenty times, eight words five times.
    """
    words = normalise(text, language).split()
    found, at = 0, 0
    while at + LOOP_WORDS <= len(words):
        run = max(_run(words, at, phrase) for phrase in range(1, LOOP_PHRASE + 1))
        found += run > 0
        at += run or 1
    return found


def _run(words: Sequence[str], at: int, phrase: int) -> int:
    """Return how many words from `at` on repeat with this period; 0 if too few for a loop."""
    stop = at + phrase
    while stop < len(words) and words[stop] == words[stop - phrase]:
        stop += 1
    length = stop - at
    return length if length >= max(LOOP_WORDS, LOOP_REPEATS * phrase) else 0


def times_in_order(transcript: Transcript) -> bool:
    """Tell whether segments and words run forward and lie inside the recording."""
    return _forward(((s.start, s.end) for s in transcript.segments), transcript.duration) and _forward(
        ((w.start, w.end) for w in transcript.words), transcript.duration
    )


def _forward(intervals: Iterable[tuple[float, float]], duration: float) -> bool:
    slack = 1e-3  # seconds; times are written in milliseconds
    last = 0.0
    for start, end in intervals:
        if start < last - slack or end < start - slack or end > duration + slack:
            return False
        last = start
    return True
