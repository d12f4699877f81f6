"""Live windows: what is asked of the model for one, and what its answer says. Pure decisions.

A window is asked with the committed words inside it as a forced prefix, and with those that have
left it as the text before. Source of the figures: docs/log.md, 2026-11-25.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from whisper_lambda.engine import policy
from whisper_lambda.engine.alignment import LOUD_FRAME_S, Alignment, loud_frames, timed_words
from whisper_lambda.engine.vocabulary import SPACELESS, Vocabulary, spaced
from whisper_lambda.types import MAX_CHUNK_S, Continuation, LiveWord, Options, Window, Word

MARGIN_S = 2.0  # silence after the audio; a live window is decoded again soon, so less than a chunk's
STEP_S = 1.0  # windows come in whole seconds, so that those of several sessions share a batch
BEAM = 5  # greedy loses a word more in a hundred (docs/log.md, 2026-11-29)
BEFORE = (0, 16, 48, 112)  # tokens of earlier words a window may be asked with: few sizes, so batches form
TOKENS_PER_SECOND = 8.0  # of audio not settled yet; more than this and TOKENS_AT_LEAST is a loop
TOKENS_AT_LEAST = 12
LOOPING = 4  # times in a row a phrase is said
# On a short window the decoder now and then says everything twice. The second time has no sound left
# to stand on: its words come upon each other, or in the silence after the last committed one.
SQUEEZED, SQUEEZED_S = 4, 0.3  # so many words in less than so long are not speech
VOICED_S = 0.1  # less sound than this after the committed words holds no word


@dataclass(frozen=True, slots=True, eq=False)
class WindowQuestion:
    """One window and how to begin: the tokens before the text, None while its language is unknown."""

    window: Window
    start: tuple[int, ...] | None
    before: tuple[int, ...]  # of one of the sizes of BEFORE, its marker included unless empty
    candidates: tuple[str, ...] = ()  # languages to choose from

    @property
    def window_s(self) -> float:
        """Seconds the encoder is shown."""
        wanted = self.window.duration + MARGIN_S
        return min(MAX_CHUNK_S, math.ceil(wanted / STEP_S) * STEP_S)

    @property
    def longest(self) -> int:
        """How many tokens may come after the prefix."""
        fresh_s = max(0.0, self.window.duration - self.window.settled_s)
        return int(min(policy.MAX_TOKENS // 2, fresh_s * TOKENS_PER_SECOND + TOKENS_AT_LEAST))


def question(window: Window, options: Options, vocabulary: Vocabulary) -> WindowQuestion:
    """Return what to ask of the model for a window."""
    start = vocabulary.markers(options.task, options.language) if options.language else None
    said = (*vocabulary.context(options), *window.before)
    kept = max(size for size in BEFORE if size <= len(said))
    before = (vocabulary.previous, *said[-kept:]) if kept else ()
    return WindowQuestion(window, start, before, options.languages)


def batch_key(asked: WindowQuestion) -> Hashable:
    """Questions of equal keys may share a batch; a window whose language is unknown is asked alone."""
    alone = id(asked) if asked.start is None else 0
    return "live", asked.window_s, asked.start, len(asked.before), alone


def max_length(asked: Sequence[WindowQuestion]) -> int:
    """Return the library's `max_length` for a batch; see `ctranslate2._max_length`."""
    answer = max(len(q.window.prefix) + q.longest for q in asked)
    head = max(len(q.before) + len(q.start or ()) for q in asked)
    return min(policy.MAX_TOKENS, max(2 * answer, head + answer))


def fresh(asked: WindowQuestion, tokens: Sequence[int]) -> tuple[int, ...]:
    """Return an answer's tokens after the prefix, no more than may be."""
    prefix = asked.window.prefix
    after = tokens[len(prefix) :] if tuple(tokens[: len(prefix)]) == prefix else tokens
    return tuple(after[: asked.longest])


def continuation(
    asked: WindowQuestion,
    tokens: tuple[int, ...],
    alignment: Alignment,
    vocabulary: Vocabulary,
    *,
    language: str,
    language_probability: float,
    no_speech_prob: float,
) -> Continuation:
    """Return what an answer says.

    Args:
        asked: the question.
        tokens: of the answer, after the prefix.
        alignment: of prefix and answer together.
        vocabulary: of the model.
        language: given or heard.
        language_probability: of that.
        no_speech_prob: as the model says.
    """
    window, at = asked.window, len(asked.window.prefix)
    rest = Alignment(alignment.starts[at:], alignment.probabilities[at:])
    pieces = vocabulary.words(tokens, language)
    if pieces and not window.prefix:
        pieces[0] = (spaced(pieces[0][0], language), pieces[0][1])
    words, counts = timed_words(pieces, rest, window.samples)
    spoken = _spoken(words, window)
    words, counts = words[:spoken], counts[:spoken]
    made, token, earliest = [], 0, window.settled_s
    for word, count in zip(words, counts, strict=True):
        start = max(word.start, earliest)
        end = max(word.end, start)
        used = tokens[token : token + count]
        made.append(
            LiveWord(
                round(window.start + start, 3),
                round(window.start + end, 3),
                word.text,
                word.probability,
                used,
            )
        )
        token, earliest = token + count, end
    logprobs = [math.log(max(p, 1e-10)) for p in rest.probabilities]
    return Continuation(
        words=tuple(made),
        language=language,
        language_probability=language_probability,
        avg_logprob=sum(logprobs) / max(1, len(logprobs)),
        no_speech_prob=no_speech_prob,
        loops=_loops(asked, tokens, language),
    )


def _spoken(words: Sequence[Word], window: Window) -> int:
    """Return how many of the words have sound to stand on."""
    if window.prefix:
        loud = loud_frames(window.samples)[int(window.settled_s / LOUD_FRAME_S) :]
        if np.count_nonzero(loud) * LOUD_FRAME_S < VOICED_S:
            return 0
    spans = (words[i + SQUEEZED - 1].end - words[i].start for i in range(len(words) - SQUEEZED + 1))
    return next((i for i, span in enumerate(spans) if span < SQUEEZED_S), len(words))


def _loops(asked: WindowQuestion, tokens: tuple[int, ...], language: str) -> bool:
    if len(tokens) >= asked.longest and language not in SPACELESS:
        return True
    return policy.repeats((*asked.window.prefix[-40:], *tokens)) >= LOOPING
