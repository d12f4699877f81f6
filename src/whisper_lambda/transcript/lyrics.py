"""Transcript in, LRC lyrics out: a time for each line, or for each word as well."""

from __future__ import annotations

from collections.abc import Iterator

from whisper_lambda.transcript.cues import Layout, cues
from whisper_lambda.transcript.escaping import for_lrc
from whisper_lambda.transcript.ticks import CS, apart, to_ticks
from whisper_lambda.types import Transcript, Word

_Line = tuple[float, float, tuple[Word, ...]]  # start, end, words


def lrc(transcript: Transcript, layout: Layout) -> str:
    """Write a line for each cue; where a layout breaks a cue, each line has its own time."""
    lines = list(_lines(transcript, layout, by_word=False))
    times = apart([(start, end) for start, end, _ in lines], CS)
    return _head(transcript) + "".join(
        f"[{_timestamp(begin)}]{for_lrc(_text(words))}\n"
        for (begin, _), (_, _, words) in zip(times, lines, strict=True)
    )


def lrc_words(transcript: Transcript, layout: Layout) -> str:
    """Write enhanced LRC: `<mm:ss.xx>` before each word, and one after the last for its end."""
    lines = list(_lines(transcript, layout, by_word=True))
    times = apart([(start, end) for start, end, _ in lines], CS)
    return _head(transcript) + "".join(
        f"[{_timestamp(begin)}]{_timed(words, begin, end)}\n"
        for (begin, end), (_, _, words) in zip(times, lines, strict=True)
    )


def _lines(transcript: Transcript, layout: Layout, *, by_word: bool) -> Iterator[_Line]:
    for cue in cues(transcript.segments, layout, by_word=by_word, label=True):
        if len(cue.lines) == 1:
            yield cue.start, cue.end, cue.lines[0]
            continue
        for line in cue.lines:
            yield line[0].start, line[-1].end, line


def _text(words: tuple[Word, ...]) -> str:
    return "".join(w.text for w in words).strip()


def _timed(words: tuple[Word, ...], begin: int, end: int) -> str:
    """Return the line's words, each behind its time; times never run backwards or out of the line."""
    now, written = begin, ""
    for word in words:
        now = min(end, max(now, to_ticks(word.start, CS)))
        space = " " if written and word.text[0].isspace() else ""
        written += f"{space}<{_timestamp(now)}>{for_lrc(word.text.strip())}"
    return f"{written}<{_timestamp(end)}>"


def _head(transcript: Transcript) -> str:
    minutes, seconds = divmod(to_ticks(transcript.duration, 1), 60)
    return f"[by:whisper-lambda]\n[tool:whisper-lambda]\n[length:{minutes:02}:{seconds:02}]\n"


def _timestamp(ticks: int) -> str:
    """Return mm:ss.xx; LRC has no hours, so minutes go past 59 in a long recording."""
    seconds, cs = divmod(ticks, CS)
    return f"{seconds // 60:02}:{seconds % 60:02}.{cs:02}"
