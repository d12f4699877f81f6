"""Transcripts meant to break a writer, and what a reader should get back from them."""

import unicodedata

from hypothesis import strategies as st

from whisper_lambda.types import Segment, Transcript, Word

ATTACKS = (
    "-->",
    " --> ",
    "--",
    "-",
    "00:00:01,000 --> 00:00:02,000",
    "00:00:01.000 --> 00:00:02.000 align:start",
    "00:00:01,000 00:00:02,000",
    "\n\n7\n00:00:01,000 --> 00:00:02,000\nforged\n\n",
    "\r\n\r\n00:01.000 --> 00:02.000\r\nforged",
    "WEBVTT",
    "NOTE hidden",
    "STYLE\n::cue{}",
    "& &amp; &lt; &#60;",
    "<b>bold</b>",
    "< b >",
    "<font color=red",
    "<v Eve>",
    "</v>",
    "<00:00:01.000>",
    "{\\pos(0,0)}",
    "{\\k50}",
    "{1}{25}",
    "\\N",
    "\\h",
    "\\",
    "[00:01.00]",
    "[00:",
    "[ar:Eve]",
    "<00:01.00>",
    "\t",
    "\x00",
    "\x07\x1b[31m",
    "\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029",
    "\u202egnirts\u202c",
    "\u2066x\u2069",
    "\ufeff",
    "\ud800",
    "\udfff",
    '"',
    '"quoted',
    "'",
    ",",
    ";",
    "#",
    "=1+1",
    "42",
    " ",
    "  ",
    "\u00a0",
    "\u3000",
    "é",
    "字幕",
    "שלום",
    "👩‍🚀",
)

text = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(), max_size=20),  # surrogates and all
    st.lists(st.sampled_from(ATTACKS), max_size=6).map("".join),
    st.lists(st.one_of(st.sampled_from(ATTACKS), st.text(max_size=8)), max_size=6).map(" ".join),
)
word_text = st.tuples(st.sampled_from(["", " "]), text).map("".join)
nobody = st.none()
_step_ms = st.one_of(st.integers(0, 40), st.integers(0, 5_000_000))
_length_ms = st.one_of(st.integers(10, 40), st.integers(10, 2_000_000))


def segment(start: float, end: float, said: str, words: tuple[Word, ...] = (), **more) -> Segment:
    return Segment(start, end, said, -0.25, 0.01, 1.2, words=words, **more)


def transcript(*segments: Segment, **more) -> Transcript:
    return Transcript(segments, "en", max((s.end for s in segments), default=0.0), **more)


@st.composite
def orderly(draw, texts=text, speakers=nobody, unit_ms=1):
    """A transcript whose segments follow each other without overlap, at whole `unit_ms`."""
    now, segments = 0, []
    for _ in range(draw(st.integers(0, 5))):
        now += draw(_step_ms) // unit_ms * unit_ms
        end = now + draw(_length_ms) // unit_ms * unit_ms
        segments.append(segment(now / 1000, end / 1000, draw(texts), speaker=draw(speakers)))
        now = end
    return transcript(*segments)


@st.composite
def worded(draw, texts=word_text, speakers=nobody):
    """A transcript with word times, in order, at whole centiseconds."""
    now, segments = 0, []
    for _ in range(draw(st.integers(0, 4))):
        words = []
        for said in draw(st.lists(texts, min_size=1, max_size=8)):
            now += draw(st.sampled_from([0, 0, 0, 2, 30, 400]))
            end = now + draw(st.integers(1, 120))
            words.append(Word(now / 100, end / 100, said, 0.9))
            now = end
        said = "".join(w.text for w in words)
        segments.append(segment(words[0].start, words[-1].end, said, tuple(words), speaker=draw(speakers)))
    return transcript(*segments)


wild_times = st.one_of(st.floats(), st.floats(-5, 5), st.sampled_from([59.9996, 3599.9999, 0.9999, 1e12]))


def seen(said: str) -> str:
    """What a person would read: no invisible controls, every run of white space one space."""
    kept = (c for c in said if c.isspace() or unicodedata.category(c) != "Cc")
    dropped = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
    whole = ("\ufffd" if unicodedata.category(c) == "Cs" else c for c in kept if c not in dropped)
    return " ".join("".join(whole).split())


def narrow(said: str) -> str:
    """Undo the fullwidth forms that stand for markup, as NFKC would."""
    return said.translate({ord(c): unicodedata.normalize("NFKC", c) for c in "＜＞｛｝＼：［"})


def solid(said: str) -> str:
    """The visible characters alone: a line break may stand where a space was, or where none was."""
    return "".join(seen(said).split())
