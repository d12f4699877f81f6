"""A format's name in, its writer out. Ask before the line starts: an unknown name costs no work."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from whisper_lambda.errors import UnknownFormat
from whisper_lambda.transcript import documents, karaoke, lyrics, subtitles
from whisper_lambda.transcript.cues import Layout
from whisper_lambda.types import Times, Transcript

__all__ = ["ALIASES", "FORMATS", "Format", "Layout", "Renderer", "needs", "renderer"]


@dataclass(frozen=True, slots=True)
class Format:
    """One row of the table of formats."""

    write: Callable[[Transcript, Layout], str]
    media_type: str
    suffix: str  # of a file's name; different for each format, so that all fit in one folder
    times: Times  # the least `Options.times` it can be written from
    laid_out: bool = False  # whether a layout changes it


_UTF8 = "; charset=utf-8"

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "text": Format(documents.plain, "text/plain" + _UTF8, ".txt", "none"),
        "json": Format(documents.json_text, "application/json", ".json", "none"),
        "verbose_json": Format(documents.verbose_json, "application/json", ".verbose.json", "segment"),
        "srt": Format(subtitles.srt, "application/x-subrip" + _UTF8, ".srt", "segment", laid_out=True),
        "vtt": Format(subtitles.vtt, "text/vtt" + _UTF8, ".vtt", "segment", laid_out=True),
        "tsv": Format(documents.tsv, "text/tab-separated-values" + _UTF8, ".tsv", "segment"),
        "lrc": Format(lyrics.lrc, "application/x-lrc" + _UTF8, ".lrc", "segment", laid_out=True),
        "lrc_words": Format(
            lyrics.lrc_words, "application/x-lrc" + _UTF8, ".words.lrc", "word", laid_out=True
        ),
        "ass": Format(karaoke.ass, "text/x-ssa" + _UTF8, ".ass", "word", laid_out=True),
    }
)
ALIASES: Mapping[str, str] = MappingProxyType({"txt": "text"})


@dataclass(frozen=True, slots=True)
class Renderer:
    """Writes a transcript in one format. The same transcript always gives the same string."""

    name: str
    layout: Layout

    @property
    def media_type(self) -> str:
        """For a Content-Type header."""
        return FORMATS[self.name].media_type

    @property
    def suffix(self) -> str:
        """End of a file's name, with its dot."""
        return FORMATS[self.name].suffix

    def __call__(self, transcript: Transcript) -> str:
        """Return the file's text, always encodable as UTF-8, lines ended by LF."""
        return FORMATS[self.name].write(transcript, self.layout)


def renderer(name: str, layout: Layout | None = None) -> Renderer:
    """Return the writer of a format.

    Raises:
        UnknownFormat: the name is not in the table; the message lists those that are.
    """
    return Renderer(_known(name), layout or Layout())


def needs(name: str, layout: Layout | None = None) -> Times:
    """Return the least `Options.times` a format can be written from.

    Raises:
        UnknownFormat: the name is not in the table.
    """
    row = FORMATS[_known(name)]
    return "word" if row.laid_out and layout is not None and layout.by_word else row.times


def _known(name: str) -> str:
    known = ALIASES.get(name, name)
    if known in FORMATS:
        return known
    names = [*FORMATS, *ALIASES]
    near = difflib.get_close_matches(name[:40], names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UnknownFormat(f"{name[:40]!r} is not a format; {hint}known: {', '.join(names)}")
