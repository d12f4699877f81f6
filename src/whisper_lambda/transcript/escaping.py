"""Any text in; text that cannot split, forge or restyle a cue out.

SRT, ASS and LRC have no escape that their readers agree on. There, what would be markup becomes
its fullwidth form, which looks the same, survives every reader, and goes back by NFKC.
"""

from __future__ import annotations

import re

# Everything some reader takes for the end of a line (Python's splitlines is one of them), and runs
# of spaces. Not the no-break space: French puts it before punctuation.
_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029 ]+")
# Control characters; bidi embeddings, overrides and isolates, which reorder what is around them
# (the marks LRM, RLM and ALM stay: ordinary Arabic and Hebrew use them); the byte-order mark.
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")

_MARKUP = str.maketrans("<>{}\\", "＜＞｛｝＼")
_VTT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Some SRT readers take any line that holds two of these for a new cue, arrow or not.
_SRT_TIME = re.compile(r"(?<=\d):(?=\d+:\d+[.,]\d)")
# `[` that could open a time tag, also when the digits come with the next word. `[Music]` stays.
_LRC_TAG = re.compile(r"\[(?=\s*(?:\d|$))")


def one_line(text: str) -> str:
    """Return `text` without line breaks, control and bidi control characters.

    A leading and a trailing space stay: a word keeps the space that parts it from its neighbour.
    """
    return _BREAKS.sub(" ", _INVISIBLE.sub("", encodable(text)))


def encodable(text: str) -> str:
    """Return `text` with lone surrogates, which UTF-8 cannot carry, as U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)


def for_srt(text: str) -> str:
    r"""Neutralise what players read as markup (`<b>`, `{\an8}`, `\N`), as an arrow or as times."""
    return _SRT_TIME.sub("：", text).translate(_MARKUP)


def for_ass(text: str) -> str:
    r"""Neutralise override blocks (`{\pos(0,0)}`) and line breaks (`\N`)."""
    return text.translate(_MARKUP)


def for_vtt(text: str) -> str:
    """Escape as WebVTT says; readers give the very same text back."""
    return text.translate(_VTT)


def for_lrc(text: str) -> str:
    """Neutralise what could be read as a time tag, of a line or of a word."""
    return _LRC_TAG.sub("［", text.translate(_MARKUP))
