"""Transcript in, SubRip or WebVTT out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from whisper_lambda.transcript.cues import Cue, Layout, cues
from whisper_lambda.transcript.escaping import for_srt, for_vtt
from whisper_lambda.transcript.ticks import MS, apart, clock
from whisper_lambda.types import Transcript, Word


def srt(transcript: Transcript, layout: Layout) -> str:
    """Write SubRip. Speakers are written as "Ana: ..."; brackets and backslashes in fullwidth."""
    shown = list(_shots(cues(transcript.segments, layout, label=True), layout, for_srt))
    times = apart([(start, end) for start, end, _, _ in shown], MS)
    blocks = (
        f"{number}\n{_timestamp(begin, ',')} --> {_timestamp(end, ',')}\n{text}\n"
        for number, ((begin, end), (_, _, text, _)) in enumerate(zip(times, shown, strict=True), 1)
    )
    return "\n".join(blocks)


def vtt(transcript: Transcript, layout: Layout) -> str:
    """Write WebVTT, speakers as voice spans (`<v Ana>`)."""
    shown = list(_shots(cues(transcript.segments, layout), layout, for_vtt))
    times = apart([(start, end) for start, end, _, _ in shown], MS)
    blocks = (
        f"{_timestamp(begin, '.')} --> {_timestamp(end, '.')}\n{_voice(speaker)}{text}\n"
        for (begin, end), (_, _, text, speaker) in zip(times, shown, strict=True)
    )
    return "\n".join(("WEBVTT\n", *blocks))


def _voice(speaker: str) -> str:
    if not speaker:
        return ""
    end = " >" if speaker.endswith("-") else ">"  # "--" before the bracket would make an arrow
    return f"<v {for_vtt(speaker)}{end}"


def _shots(
    shown: Iterator[Cue], layout: Layout, escape: Callable[[str], str]
) -> Iterator[tuple[float, float, str, str]]:
    """Yield (start, end, escaped text, speaker): one a cue, or one a word when words are highlighted."""
    for cue in shown:
        if not layout.highlight_words:
            yield cue.start, cue.end, _text(cue, escape), cue.speaker
            continue
        now = cue.start
        for word in (w for line in cue.lines for w in line):
            if word.start > now:  # nobody speaks: the cue stands without a highlight
                yield now, word.start, _text(cue, escape), cue.speaker
            yield word.start, word.end, _text(cue, escape, word), cue.speaker
            now = word.end


_MARK, _UNMARK = "\x02", "\x03"  # no cue holds control characters, and no escape touches them


def _text(cue: Cue, escape: Callable[[str], str], spoken: Word | None = None) -> str:
    """Return the cue's text, escaped line by line, the word being spoken underlined."""

    def marked(word: Word) -> str:
        bare = word.text.strip()
        return word.text.replace(bare, f"{_MARK}{bare}{_UNMARK}") if word is spoken else word.text

    lines = ("".join(map(marked, line)).strip() for line in cue.lines)
    return "\n".join(map(escape, lines)).replace(_MARK, "<u>").replace(_UNMARK, "</u>")


def _timestamp(ticks: int, point: str) -> str:
    hours, minutes, seconds, ms = clock(ticks, MS)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"
