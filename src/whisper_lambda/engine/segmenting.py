"""Timed words in, segments that read well out: cut at sentence ends and pauses."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence

from whisper_lambda.engine.alignment import Alignment
from whisper_lambda.engine.policy import Hypothesis
from whisper_lambda.types import Segment, Token, Word

PAUSE_S = 1.0  # a longer silence between two words ends a segment
LONGEST_S = 12.0  # a sentence longer than this is cut at its best pause or comma
LONGEST_CHARS = 180
SENTENCE_END = (".", "?", "!", "…", "。", "？", "！", "۔", "।")
CLAUSE_END = (",", ";", ":", "—", "，", "、", "；", "：")
QUOTES = "\"'”»)]}"
# Short words whose full stop ends no sentence, in the languages most often heard.
ABBREVIATIONS = frozenset(
    [  # no full stop
        *("mr", "mrs", "ms", "dr", "st", "jr", "vs", "etc", "e.g", "i.e"),
        *("sr", "sra", "srta", "dra", "ud", "uds", "lic", "ing", "prof"),
        *("mme", "mlle", "sig", "dott", "nr", "bzw", "z.b"),
    ]
)


def segments(
    words: Sequence[Word],
    counts: Sequence[int],
    hypothesis: Hypothesis,
    alignment: Alignment,
    spelled: Sequence[bytes] = (),
) -> tuple[Segment, ...]:
    """Cut a chunk's words into segments, each scored by its own tokens.

    Args:
        words: in order, times in seconds from the chunk's start.
        counts: tokens of each word; they add up to the hypothesis's.
        hypothesis: the chunk's decode.
        alignment: of the hypothesis's tokens.
        spelled: what each token says.
    """
    made, token = [], 0
    for first, stop in _cuts(words):
        used = sum(counts[first:stop])
        part = slice(token, token + used)
        made.append(
            _segment(
                words[first:stop],
                hypothesis,
                hypothesis.tokens[part],
                alignment.probabilities[part],
                spelled[part],
            )
        )
        token += used
    return tuple(made)


def whole(hypothesis: Hypothesis, duration: float) -> tuple[Segment, ...]:
    """Return the chunk as one segment, for answers that need no times."""
    return (
        Segment(
            start=0.0,
            end=duration,
            text=hypothesis.text,
            avg_logprob=round(hypothesis.avg_logprob, 4),
            no_speech_prob=round(hypothesis.no_speech_prob, 4),
            compression_ratio=round(hypothesis.compression_ratio, 3),
            temperature=hypothesis.temperature,
            tokens=hypothesis.tokens,
        ),
    )


def _segment(
    words: Sequence[Word],
    hypothesis: Hypothesis,
    tokens: tuple[int, ...],
    probabilities: Sequence[float],
    spelled: Sequence[bytes],
) -> Segment:
    text = "".join(w.text for w in words)
    raw = text.encode()
    logprobs = [math.log(max(p, 1e-10)) for p in probabilities]
    logprob = sum(logprobs) / max(1, len(logprobs))
    return Segment(
        start=words[0].start,
        end=words[-1].end,
        text=text,
        avg_logprob=round(logprob, 4),
        no_speech_prob=round(hypothesis.no_speech_prob, 4),
        compression_ratio=round(len(raw) / len(zlib.compress(raw)), 3),
        temperature=hypothesis.temperature,
        tokens=tokens,
        words=tuple(words),
        scored=tuple(Token(t, round(p, 4)) for t, p in zip(spelled, logprobs, strict=False)),
    )


def _cuts(words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Yield [first, stop) of each segment: sentences and pauses first, then length."""
    first = 0
    for i in range(len(words)):
        last = i + 1 == len(words)
        if last or _ends_sentence(words[i]) or words[i + 1].start - words[i].end >= PAUSE_S:
            yield from _shortened(words, first, i + 1)
            first = i + 1


def _shortened(words: Sequence[Word], first: int, stop: int) -> Iterator[tuple[int, int]]:
    """Halve what is too long to read, at the clause end or pause nearest its middle."""
    length = words[stop - 1].end - words[first].start
    chars = sum(len(w.text) for w in words[first:stop])
    if stop - first < 2 or (length <= LONGEST_S and chars <= LONGEST_CHARS):  # noqa: PLR2004 - one word is not cut
        yield first, stop
        return
    middle = (first + stop) / 2
    at = max(range(first + 1, stop), key=lambda i: _seam(words, i) - abs(i - middle) / (stop - first))
    yield from _shortened(words, first, at)
    yield from _shortened(words, at, stop)


def _seam(words: Sequence[Word], i: int) -> float:
    """How good a cut before word `i` is: a clause end is worth half a segment's detour."""
    clause = 0.5 if words[i - 1].text.rstrip(QUOTES).endswith(CLAUSE_END) else 0.0
    return clause + min(0.5, max(0.0, words[i].start - words[i - 1].end))


def _ends_sentence(word: Word) -> bool:
    text = word.text.strip().rstrip(QUOTES)
    if not text.endswith(SENTENCE_END):
        return False
    bare = text.rstrip(".").lower()
    initial = len(bare) == 1 and bare.isalpha() and text.endswith(".")
    return not initial and bare not in ABBREVIATIONS
