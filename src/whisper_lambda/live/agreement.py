"""LocalAgreement: what successive hypotheses agree on is committed. Pure.

Source: Macháček, Dabre, Bojar 2023, "Turning Whisper into Real-Time Transcription System".
"""

from __future__ import annotations

from collections.abc import Sequence

from whisper_lambda.types import LiveWord


def same(a: LiveWord, b: LiveWord) -> bool:
    """Tell whether two words are the same but for case and marks."""
    return _bare(a.text) == _bare(b.text)


def agreed(now: Sequence[LiveWord], before: Sequence[Sequence[LiveWord]], depth: int) -> int:
    """Return how many of the first words of `now` the hypotheses before it say too.

    Args:
        now: the latest hypothesis.
        before: the earlier ones, latest last, each without the words committed since.
        depth: how many hypotheses must agree, `now` counted.
    """
    if depth <= 1:
        return len(now)
    if len(before) < depth - 1:
        return 0
    others = before[-(depth - 1) :]
    count = 0
    for i, word in enumerate(now):
        if any(i >= len(other) or not same(word, other[i]) for other in others):
            break
        count += 1
    return count


def settled(now: Sequence[LiveWord], until: float) -> int:
    """Return how many of the first words of `now` end before `until`, seconds of the session's audio."""
    return next((i for i, word in enumerate(now) if word.end > until), len(now))


def _bare(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())
