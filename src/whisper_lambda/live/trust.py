"""Whether what a live window is said to hold can be believed. Pure decisions."""

from __future__ import annotations

from whisper_lambda.types import Continuation

UNLIKELY_LOGPROB = -1.0  # mean over the tokens; as for recordings
UNSURE_LOGPROB = -0.9  # where the VAD hears no speech; as for recordings
DISTINCT = 0.4  # share of different words below which text over music is a chant


def believed(heard: Continuation, *, unsure: bool) -> bool:
    """Tell whether a window's words may be shown.

    Args:
        heard: what the engine says of it.
        unsure: the VAD hears no speech there, so the words themselves must be likely.
    """
    if heard.loops:
        return False
    if not heard.words:
        return True
    if unsure and len({w.tokens for w in heard.words}) < DISTINCT * len(heard.words):
        return False
    return heard.avg_logprob >= (UNSURE_LOGPROB if unsure else UNLIKELY_LOGPROB)
