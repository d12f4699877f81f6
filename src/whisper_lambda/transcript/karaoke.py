"""Transcript in, Advanced SubStation Alpha out: each word fills with colour while it is sung."""

from __future__ import annotations

from whisper_lambda.transcript.cues import Cue, Layout, cues
from whisper_lambda.transcript.escaping import for_ass
from whisper_lambda.transcript.ticks import CS, apart, clock, to_ticks
from whisper_lambda.types import Transcript

# Sung words are white, words to come a light blue grey, on a dark outline: readable on any picture.
# Colours are &HAABBGGRR. A position is in the 1920x1080 the script declares, whatever the video is.
_HEAD = """\
[Script Info]
; whisper-lambda
ScriptType: v4.00+
WrapStyle: 0
ScaledBorderAndShadow: yes
PlayResX: 1920
PlayResY: 1080

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
Style: Default,Arial,64,&H00FFFFFF,&H00D8B898,&H00101010,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,96,96,72,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def ass(transcript: Transcript, layout: Layout) -> str:
    r"""Write ASS, with `{\k}` karaoke when the transcript has word times."""
    timed = bool(transcript.words)
    shown = list(cues(transcript.segments, layout, by_word=timed))
    times = apart([(cue.start, cue.end) for cue in shown], CS)
    return _HEAD + "".join(
        f"Dialogue: 0,{_timestamp(begin)},{_timestamp(end)},Default,{_name(cue.speaker)},0,0,0,,"
        f"{_sung(cue, begin, end) if timed else _plain(cue)}\n"
        for (begin, end), cue in zip(times, shown, strict=True)
    )


def _name(speaker: str) -> str:
    return for_ass(speaker).replace(",", "，")  # a comma would open the next field


def _plain(cue: Cue) -> str:
    return "\\N".join(map(for_ass, cue.texts))


def _sung(cue: Cue, begin: int, end: int) -> str:
    """Return the cue with the centiseconds each word lasts, pauses before a word as empty syllables.

    Durations are differences of rounded times, so rounding never adds up along a line.
    """
    now, lines = begin, []
    for line in cue.lines:
        written = ""
        for word in line:
            start = min(end, max(now, to_ticks(word.start, CS)))
            stop = min(end, max(start, to_ticks(word.end, CS)))
            pause = f"{{\\k{start - now}}}" if start > now else ""
            text = for_ass(word.text if written else word.text.lstrip())
            written += f"{pause}{{\\k{stop - start}}}{text}"
            now = stop
        lines.append(written.rstrip())
    return "\\N".join(lines)


def _timestamp(ticks: int) -> str:
    hours, minutes, seconds, cs = clock(ticks, CS)
    return f"{hours}:{minutes:02}:{seconds:02}.{cs:02}"
