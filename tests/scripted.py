"""An engine that hears a script, and gets the end of every window wrong as the real one does."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import numpy as np

from whisper_lambda.types import SAMPLE_RATE, Continuation, LiveWord, Options, Samples, Window

PACE_S = 0.4  # a word
LAST, LOUD = 4_000, 0.01  # samples at a window's end, and the loudest that is silence


@dataclass
class ScriptedEngine:
    """Hears word n at 0.4 n seconds of the session, whatever sounds; its token is n.

    The last words of a window that ends in mid-speech are garbled: how many, and how, is seeded by
    the window. So hypotheses disagree about their ends, as real ones do.
    """

    garbles: int = 2  # most words garbled
    language: str = "es"
    windows: list[Window] = field(default_factory=list)
    fails: int = 0  # steps to fail yet
    languages: frozenset[str] = frozenset({"es", "en"})

    def listen(self, window: Window, options: Options) -> Continuation:
        self.windows.append(window)
        assert window.duration <= 30.0
        end = window.start + window.duration
        first = window.prefix[-1] + 1 if window.prefix else -int(-window.start // PACE_S)
        last = int((end + 1e-6) // PACE_S)
        words = [self.word(n, n) for n in range(first, last)]
        rng = Random(round(end * 1000))
        speaking = np.abs(window.samples[-LAST:]).max(initial=0) > LOUD
        garbled = min(len(words), rng.randint(0, self.garbles)) if speaking and not window.final else 0
        for i in range(len(words) - garbled, len(words)):
            words[i] = self.word(first + i, 10_000 + rng.randint(0, 99))
        return Continuation(tuple(words), options.language or self.language, avg_logprob=-0.2)

    @staticmethod
    def word(n: int, token: int) -> LiveWord:
        text = f" w{token}" if token == n else f" garble{token}"
        return LiveWord(round(n * PACE_S, 3), round((n + 1) * PACE_S, 3), text, 0.9, (token,))


def said(voice: Samples, *pauses_s: float) -> Samples:
    """Return the voice, and after each of the pauses again."""
    parts = [voice]
    for pause in pauses_s:
        parts += [np.zeros(round(pause * SAMPLE_RATE), np.float32), voice]
    return np.concatenate(parts)
