"""Two answers to the same recording in, what differs between them out: fields, words, times."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

Json = Mapping[str, Any]
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
MOST_PASSAGES = 20  # of differing words, shown


@dataclass(frozen=True, slots=True)
class Passage:
    """Where the two say different things."""

    saved: str
    ours: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How our answer differs from a saved one."""

    missing: tuple[str, ...]  # fields of the saved answer that ours lacks
    added: tuple[str, ...]  # fields ours has besides; those that begin with x_ are meant to be there
    retyped: tuple[str, ...]  # fields of another kind, e.g. a text for a number
    language: tuple[str, str]
    words: int  # of the saved text
    edits: int  # words to be replaced, put in or taken out to make its text of ours
    passages: tuple[Passage, ...]
    shifts: tuple[float, ...]  # seconds, ours minus saved, of each beginning both give

    @property
    def word_difference(self) -> float:
        """Edits for each word of the saved text."""
        return self.edits / self.words if self.words else float(self.edits > 0)

    @property
    def median_shift_s(self) -> float | None:
        """How far apart the beginnings are, without their sign."""
        return statistics.median(map(abs, self.shifts)) if self.shifts else None


def compare(saved: Json, ours: Json) -> Comparison:
    """Compare two answers of the same format.

    Words are compared without case and punctuation. Times are those of words where the saved answer
    has words, else those of segments' first words.
    """
    before, after = _words(saved["text"]), _words(ours["text"])
    blocks = SequenceMatcher(None, before, after, autojunk=False)
    steps = [s for s in blocks.get_opcodes() if s[0] != "equal"]
    return Comparison(
        missing=tuple(f"{p}{n}" for p, a, b in _levels(saved, ours) for n in a.keys() - b.keys()),
        added=tuple(f"{p}{n}" for p, a, b in _levels(saved, ours) for n in b.keys() - a.keys()),
        retyped=tuple(
            f"{p}{n}"
            for p, a, b in _levels(saved, ours)
            for n in a.keys() & b.keys()
            if _kind(a[n]) != _kind(b[n])
        ),
        language=(str(saved.get("language", "")), str(ours.get("language", ""))),
        words=len(before),
        edits=sum(max(i2 - i1, j2 - j1) for _, i1, i2, j1, j2 in steps),
        passages=tuple(
            Passage(" ".join(before[i1:i2]), " ".join(after[j1:j2]))
            for _, i1, i2, j1, j2 in steps[:MOST_PASSAGES]
        ),
        shifts=tuple(_shifts(saved, ours, blocks)),
    )


def _levels(saved: Json, ours: Json) -> list[tuple[str, Json, Json]]:
    """Return the objects whose fields are compared, each behind its place."""
    levels: list[tuple[str, Json, Json]] = [("", saved, ours)]
    for name in ("segments", "words"):
        if saved.get(name) and ours.get(name):
            levels.append((f"{name}[].", saved[name][0], ours[name][0]))
    return levels


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def _words(text: str) -> list[str]:
    return [w.replace("’", "'").casefold() for w in _WORD.findall(text)]


def _shifts(saved: Json, ours: Json, blocks: SequenceMatcher[str]) -> list[float]:
    before, after = _beginnings(saved), _beginnings(ours)
    pairs = ((m.a + k, m.b + k) for m in blocks.get_matching_blocks() for k in range(m.size))
    return [round(after[j] - before[i], 3) for i, j in pairs if i in before and j in after]


def _beginnings(answer: Json) -> dict[int, float]:
    """Return when words begin, by their place in the text."""
    parts: Sequence[Json] = answer.get("words") or answer.get("segments") or ()
    begun, place = {}, 0
    for part in parts:
        words = _words(part.get("word") or part.get("text") or "")
        if words:
            begun[place] = float(part["start"])
        place += len(words)
    return begun
