"""Word times in, their accuracy out: where the first word of each utterance was put.

The words of a transcript are aligned with those of the reference by edit distance; the word that
falls on an utterance's first reference word is compared with the utterance's known start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whisper_lambda.tools.extras import needed
from whisper_lambda.tools.manifest import Utterance
from whisper_lambda.tools.scoring import normalise, open_brackets
from whisper_lambda.types import SAMPLE_RATE, Samples, Word

NEAR_S = 0.3  # seconds; a first word this close to its utterance's start counts as right

_FRAME = SAMPLE_RATE // 100  # samples; 10 ms
_VOICED_FRAMES = 5  # in a row, so that a click is no voice
_BELOW_PEAK_DB = 25.0  # how far under the utterance's loud parts its voice may begin


@dataclass(frozen=True, slots=True)
class FirstWord:
    """The word a transcript has where an utterance begins, and how late it is."""

    utterance: Utterance
    heard: str
    late_s: float  # seconds; negative = before the known start
    same: bool  # the very word of the reference, not another in its place


def first_words(
    words: Sequence[Word],
    utterances: Sequence[Utterance],
    language: str | None,
    *,
    fold_diacritics: bool = False,
) -> tuple[FirstWord, ...]:
    """Find the word each utterance begins with; utterances whose first word was not heard are left out."""
    spoken: list[str] = []
    begins: dict[int, Utterance] = {}  # index of a reference word that opens an utterance
    for utterance in utterances:
        said = _terms(open_brackets(utterance.text), language, fold_diacritics)
        if said:
            begins[len(spoken)] = utterance
        spoken += said
    heard = [(term, w) for w in words for term in _terms(w.text, language, fold_diacritics)]
    if not spoken or not heard:
        return ()
    found = _aligned(spoken, [term for term, _ in heard])
    return tuple(
        FirstWord(
            utterance=utterance,
            heard=heard[found[at]][0],
            late_s=heard[found[at]][1].start - utterance.start,
            same=heard[found[at]][0] == spoken[at],
        )
        for at, utterance in begins.items()
        if at in found
    )


def share_near(found: Sequence[FirstWord], near_s: float = NEAR_S) -> float:
    """Return the share of first words within `near_s` seconds of their utterance's start."""
    return sum(abs(f.late_s) <= near_s for f in found) / max(1, len(found))


def _terms(text: str, language: str | None, fold_diacritics: bool) -> list[str]:
    return normalise(text, language, numbers=True, fold_diacritics=fold_diacritics).split()


def _aligned(reference: list[str], heard: list[str]) -> dict[int, int]:
    """Map reference positions to heard ones, where a word (the same or another) stands for it."""
    result = needed("jiwer").process_words(" ".join(reference), " ".join(heard))
    return {
        chunk.ref_start_idx + i: chunk.hyp_start_idx + i
        for chunk in result.alignments[0]
        if chunk.type in ("equal", "substitute")
        for i in range(chunk.ref_end_idx - chunk.ref_start_idx)
    }


def onset_s(samples: Samples, utterance: Utterance) -> float:
    """Return the seconds from an utterance's start to where its voice can first be heard.

    References cut out of recordings begin with the silence that stood before the first word. The
    voice begins where 50 ms are louder than 25 dB under the utterance's loud parts.
    """
    inside = samples[round(utterance.start * SAMPLE_RATE) : round(utterance.end * SAMPLE_RATE)]
    frames = inside[: len(inside) // _FRAME * _FRAME].reshape(-1, _FRAME)
    if len(frames) < _VOICED_FRAMES:
        return 0.0
    level = 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-12)  # dB; the last term keeps log finite
    loud = level > np.percentile(level, 95) - _BELOW_PEAK_DB
    runs = np.convolve(loud, np.ones(_VOICED_FRAMES), "valid") == _VOICED_FRAMES
    return float(np.argmax(runs)) * _FRAME / SAMPLE_RATE
