"""How a chunk is decoded, when a decode is doubted, and what is tried next. Pure decisions.

Source of the figures: docs/log.md, experiments of 2026-11-23 on 15 sets of short recordings.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_lambda.types import MAX_CHUNK_S, DropReason, Options

MARGIN_S = 5.0  # silence after the audio; with less the decoder does not see the end and loops
BEAM = 5
# Of a full window the decoder is shown the mean of two positions of the encoder's, 40 ms: half to read
# at every step, for as good a text. Three spoil it. Two finished hypotheses of five are choice enough.
POOL = 2
PATIENCE = 0.4
# A hypothesis longer than anybody speaks is a loop: the fastest real speech in our sets gives 9
# tokens a second (Korean, Japanese), a short "yes" needs a few whatever its length.
TOKENS_PER_SECOND = 12.0
TOKENS_AT_LEAST = 30
HASTY_TOKENS_PER_SECOND = 6.0  # fluent speech in our sets gives 3 to 5, only the spaceless scripts more
LOOPING, ENDLESS = 4, 12  # times in a row a phrase is said: doubted when hasty; never believed
TWICE_TOKENS = 6  # a phrase this long said twice over is looked at again
MAX_TOKENS = 448  # the decoder's context, prompt included
UNSURE_LOGPROB = -0.45  # `best` decodes what is less likely than this again, on the full window
# Where the VAD hears no speech: sung lines score above -0.7, what is made up over noise below -1.2.
UNSURE_CHUNK_LOGPROB = -0.9
DISTINCT = 0.4  # share of different tokens below which a text over music is a vowel held or a chant
# What Whisper says where nobody speaks: it was trained on captioned videos, and how those end.
KNOWN_PHRASES = frozenset(
    [
        *("you", "thank you", "thank you very much", "thanks for watching", "thank you for watching"),
        *("bye", "bye bye", "okay", "oh", "yeah", "so", "hmm", "im sorry", "please subscribe", "the end"),
        *("music", "applause", "music playing", "silence", "i dont know"),
        *("gracias", "muchas gracias", "gracias por ver el video", "suscríbete", "música", "adiós"),
        *("subtítulos realizados por la comunidad de amaraorg", "subtítulos por la comunidad de amaraorg"),
        *("merci", "merci davoir regardé cette vidéo", "soustitres réalisés par la communauté damaraorg"),
        *("untertitel der amaraorgcommunity", "vielen dank", "grazie", "obrigado", "tchau"),
        *("sottotitoli creati dalla comunità amaraorg", "продолжение следует", "спасибо"),
        *("ご視聴ありがとうございました", "谢谢大家", "字幕由amaraorg社区提供", "시청해주셔서 감사합니다"),
    ]
)
# Windows come in steps, so that chunks of like length share a batch; a long one is always full,
# since a batch saves more than the last seconds cost.
STEP_S = 0.5
COARSE_FROM_S, COARSE_STEP_S = 12.0, 2.0
FULL_FROM_S = 22.0


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to decode. Two equal rungs give the same tokens for the same samples."""

    beam_size: int = BEAM
    full_window: bool = False  # 30 s whatever the length: slow, and the sight the model was trained on
    no_repeat_ngram: int = 0  # forbid a run of so many tokens to come twice
    temperature: float = 0.0
    unsure_below: float = -math.inf  # an avg_logprob that is good enough to stop climbing
    thorough: bool = False  # of a full window too, every position and every beam's end

    def window_s(self, duration: float) -> float:
        """Seconds the encoder is shown for `duration` seconds of audio."""
        wanted = duration + MARGIN_S
        if self.full_window or wanted > FULL_FROM_S:
            return MAX_CHUNK_S
        step = STEP_S if wanted <= COARSE_FROM_S else COARSE_STEP_S
        return math.ceil(wanted / step) * step

    def sketchy(self, window_s: float) -> bool:
        """Tell whether the decoder is to read less: where a short one decodes alone it saves nothing."""
        return window_s >= MAX_CHUNK_S and not self.thorough


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What one rung proposes for a chunk."""

    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float = 0.0

    @property
    def compression_ratio(self) -> float:
        """len(utf8) / len(zlib) of the text; above 2.4 it is looping."""
        raw = self.text.encode()
        return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def ladder(options: Options) -> tuple[Rung, ...]:
    """Return the rungs to climb, cheapest first; a rung is left as soon as nothing is in doubt.

    All but a temperature the caller asked for are deterministic, so that equal samples give equal
    words: instead of sampling, doubt is met with the full window and then with a ban on repetition.
    """
    if options.temperature > 0:
        return (Rung(beam_size=1, temperature=options.temperature),)
    beam = options.beam_size or BEAM
    last = (
        Rung(beam_size=beam, full_window=True, thorough=True),
        Rung(beam_size=beam, full_window=True, thorough=True, no_repeat_ngram=3),
    )
    if options.beam_size == 1 or options.quality == "fast":
        first: tuple[Rung, ...] = (Rung(beam_size=1),)
    else:
        first = (
            Rung(beam_size=beam, unsure_below=UNSURE_LOGPROB if options.quality == "best" else -math.inf),
        )
    return (*first, *last)


def differs(rung: Rung, before: Rung, duration: float) -> bool:
    """Tell whether a rung can give another answer than the one before it: a long chunk is always full."""
    ways = [replace(r, full_window=False, unsure_below=0.0) for r in (rung, before)]
    return ways[0] != ways[1] or rung.window_s(duration) != before.window_s(duration)


def longest(duration: float) -> int:
    """Return how many tokens `duration` seconds of audio can hold at the very most."""
    return int(min(MAX_TOKENS // 2, duration * TOKENS_PER_SECOND + TOKENS_AT_LEAST))


def doubt(
    hypothesis: Hypothesis, duration: float, options: Options, *, unsure: bool = False
) -> DropReason | None:
    """Say what is wrong with a hypothesis, or None when it can be trusted.

    Args:
        hypothesis: of the chunk.
        duration: of the chunk, seconds.
        options: hold the thresholds.
        unsure: the VAD hears no speech there, so the words themselves must be likely.
    """
    if not hypothesis.tokens:
        return None
    if is_loop(hypothesis, duration, options.compression_ratio_threshold):
        return "repetition"
    if unsure and (reason := _made_up(hypothesis)):
        return reason
    likely = max(options.logprob_threshold, UNSURE_CHUNK_LOGPROB) if unsure else options.logprob_threshold
    if hypothesis.avg_logprob < likely:
        silent = hypothesis.no_speech_prob > options.no_speech_threshold
        return "no_speech" if silent else "low_confidence"
    return None


def _made_up(hypothesis: Hypothesis) -> DropReason | None:
    """Tell whether text over sound without speech is one of those the model falls back on."""
    if len(set(hypothesis.tokens)) < DISTINCT * len(hypothesis.tokens):
        return "repetition"
    said = "".join(c for c in hypothesis.text.lower() if c.isalpha() or c == " ").split()
    return "known_phrase" if " ".join(said) in KNOWN_PHRASES else None


def settled(
    hypothesis: Hypothesis, rung: Rung, duration: float, options: Options, *, unsure: bool = False
) -> bool:
    """Tell whether a rung's hypothesis ends the climb.

    A short window makes the decoder start over now and then, and say everything twice. The full
    window tells that from a speaker who repeats himself: what is heard there again is kept.
    """
    wrong = doubt(hypothesis, duration, options, unsure=unsure)
    if unsure and wrong != "repetition":
        return True  # noise stays noise on every rung: unlikely words are dropped, not tried again
    sure = hypothesis.avg_logprob >= rung.unsure_below or not hypothesis.tokens
    short = rung.window_s(duration) < MAX_CHUNK_S
    twice = short and repeats(hypothesis.tokens, TWICE_TOKENS) > 1
    return sure and not twice and wrong is None


def is_loop(hypothesis: Hypothesis, duration: float, ratio: float) -> bool:
    """Tell whether the text repeats itself, and faster than anybody speaks.

    Menus, prayers and choruses repeat themselves too, at the pace of speech: they are kept.
    """
    if len(hypothesis.tokens) >= longest(duration):
        return True
    again = repeats(hypothesis.tokens)
    hasty = len(hypothesis.tokens) > HASTY_TOKENS_PER_SECOND * duration
    return again >= ENDLESS or (hasty and (again >= LOOPING or hypothesis.compression_ratio > ratio))


def repeats(tokens: Sequence[int], shortest: int = 4) -> int:
    """Return how many times in a row the most repeated phrase of `shortest` tokens or more is said."""
    most = 1
    for size in range(shortest, len(tokens) // 2 + 1):
        run = 0  # positions in a row that equal the one a phrase earlier
        for i in range(size, len(tokens)):
            run = run + 1 if tokens[i] == tokens[i - size] else 0
            most = max(most, run // size + 1)
    return most


def best(hypotheses: Sequence[Hypothesis], duration: float, options: Options) -> Hypothesis:
    """Choose among hypotheses that are all doubted: no loop before a loop, then the likeliest."""
    ratio = options.compression_ratio_threshold
    return max(hypotheses, key=lambda h: (not is_loop(h, duration, ratio), h.avg_logprob))
