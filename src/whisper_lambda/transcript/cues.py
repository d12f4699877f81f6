"""Segments in, cues out: what is on the screen at one time, in lines that fit.

Line width, line count and words a line mean what they mean in Whisper's own command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

from whisper_lambda.errors import BadOption
from whisper_lambda.transcript.escaping import one_line
from whisper_lambda.types import Segment, Word

_PAUSE_S = 3.0  # seconds of silence a cue never spans; as in Whisper's writers


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How subtitles are cut. Anything set needs word times.

    Raises:
        BadOption: a limit below 1.
    """

    max_line_width: int | None = None  # characters
    max_line_count: int | None = None  # lines a cue; with a width, cues run across segments
    max_words_per_line: int | None = None  # without a line count, a full line closes its cue
    highlight_words: bool = False  # underline each word while it is said (srt, vtt)

    def __post_init__(self) -> None:
        for name in ("max_line_width", "max_line_count", "max_words_per_line"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadOption(f"{name} must be 1 or more, not {value}")

    @property
    def by_word(self) -> bool:
        """Whether anything is set, so that cues must be built from words."""
        return any(getattr(self, f.name) != f.default for f in fields(self))


@dataclass(frozen=True, slots=True)
class Cue:
    """What is on the screen at one time. Text is on one line, not yet escaped for any format."""

    start: float  # seconds
    end: float
    lines: tuple[tuple[Word, ...], ...]  # without word times, one "word" that is the whole text
    speaker: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Each line's text."""
        return tuple("".join(w.text for w in line).strip() for line in self.lines)


def cues(
    segments: Iterable[Segment], layout: Layout, *, by_word: bool = False, label: bool = False
) -> Iterator[Cue]:
    """Yield cues in order; a segment without a visible character gives none.

    Args:
        segments: in recording order; consumed as they come, so a live writer may use this too.
        layout: limits to keep.
        by_word: keep word times even where the layout does not need them.
        label: write the speaker's name before a segment's text ("Ana: ...").
    """
    by_word = by_word or layout.by_word
    cleaned = (s for s in (_cleaned(s, by_word=by_word, label=label) for s in segments) if s.words)
    if layout.max_line_width or layout.max_line_count or layout.max_words_per_line:
        yield from _broken(cleaned, layout)
        return
    for segment in cleaned:
        yield Cue(segment.start, segment.end, (segment.words,), segment.speaker or "")


def _cleaned(segment: Segment, *, by_word: bool, label: bool) -> Segment:
    """Return the segment as words of harmless text; without words where there is nothing to show."""
    whole = Word(segment.start, segment.end, segment.text, 1.0)
    words = (segment.words or tuple(_guessed(segment))) if by_word else (whole,)
    words = tuple(replace(w, text=one_line(w.text)) for w in words)
    words = tuple(w for w in words if w.text.strip())
    speaker = one_line(segment.speaker or "").strip()
    if label and speaker and words:
        words = (replace(words[0], text=f"{speaker}: {words[0].text.strip()}"), *words[1:])
    return replace(segment, words=words, speaker=speaker)


def _guessed(segment: Segment) -> Iterator[Word]:
    """Yield the words of a segment that came without word times, its time shared out by length."""
    pieces = re.findall(r"\s*\S+", segment.text)
    pace = (segment.end - segment.start) / max(1, sum(map(len, pieces)))
    start = segment.start
    for piece in pieces:
        end = start + pace * len(piece)
        yield Word(start, end, piece, 1.0)
        start = end


def _broken(segments: Iterable[Segment], layout: Layout) -> Iterator[Cue]:
    """Fill lines and cues with words, opening a new line or cue where a limit is met."""
    flowing = bool(layout.max_line_width and layout.max_line_count)
    lines: list[list[Word]] = []
    speaker = ""
    for segment in segments:
        for place, word in enumerate(segment.words):
            if lines and (
                (place == 0 and not flowing)
                or segment.speaker != speaker
                or (flowing and word.start - lines[-1][-1].start > _PAUSE_S)
            ):
                yield _cue(lines, speaker)
                lines = []
            speaker = segment.speaker or ""
            if lines and _fits(lines[-1], word, layout):
                lines[-1].append(word)
                continue
            if lines and _is_full(lines, layout):
                yield _cue(lines, speaker)
                lines = []
            lines.append([word])
    if lines:
        yield _cue(lines, speaker)


def _fits(line: list[Word], word: Word, layout: Layout) -> bool:
    if len(line) >= (layout.max_words_per_line or len(line) + 1):
        return False
    if layout.max_line_width is None:
        return True
    text = "".join(w.text for w in (*line, word))
    return len(text.strip()) <= layout.max_line_width


def _is_full(lines: list[list[Word]], layout: Layout) -> bool:
    if layout.max_line_count is not None:
        return len(lines) >= layout.max_line_count
    return layout.max_words_per_line is not None and len(lines[-1]) >= layout.max_words_per_line


def _cue(lines: list[list[Word]], speaker: str) -> Cue:
    return Cue(lines[0][0].start, lines[-1][-1].end, tuple(map(tuple, lines)), speaker)
