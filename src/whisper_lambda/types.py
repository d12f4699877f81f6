"""The nouns. Frozen values only; times are float seconds unless a name says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz; the only rate inside this package
MAX_CHUNK_S = 30.0  # seconds; Whisper's encoder hears no more at once

Samples: TypeAlias = NDArray[np.float32]  # (n,), mono, 16 kHz, [-1, 1]

Task = Literal["transcribe", "translate"]  # translate = into English
Quality = Literal["fast", "balanced", "best"]
VadMode = Literal["auto", "on", "off"]
Times = Literal["none", "segment", "word"]  # what the answer needs; costs an alignment when not "none"
DropReason = Literal["silence", "no_speech", "low_confidence", "repetition", "known_phrase"]


@dataclass(frozen=True, slots=True)
class Word:
    """One word as the model wrote it: punctuation attached, leading space kept."""

    start: float
    end: float
    text: str
    probability: float  # 0..1, mean over the word's tokens


@dataclass(frozen=True, slots=True)
class Token:
    """One token of the model's vocabulary, as it was written."""

    text: bytes  # may be part of a character
    logprob: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of transcript, with the scores Whisper gives for trusting it."""

    start: float
    end: float
    text: str
    avg_logprob: float  # mean token log-probability; below -1.0 the decode is suspect
    no_speech_prob: float  # 0..1; above 0.6 together with a low avg_logprob means silence
    compression_ratio: float  # len(utf8) / len(zlib); above 2.4 the text is looping
    temperature: float = 0.0  # the rung of the ladder that gave this text
    tokens: tuple[int, ...] = ()
    words: tuple[Word, ...] = ()
    scored: tuple[Token, ...] = ()  # `tokens` with their scores; where times were asked for
    speaker: str | None = None
    language: str | None = None  # set when the recording is multilingual

    def shifted(self, seconds: float) -> Segment:
        """Return the same segment, `seconds` later."""
        words = tuple(replace(w, start=w.start + seconds, end=w.end + seconds) for w in self.words)
        return replace(self, start=self.start + seconds, end=self.end + seconds, words=words)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Text the guard refused to pass on, or audio it refused to decode."""

    start: float
    end: float
    reason: DropReason
    text: str = ""  # what the decoder proposed; empty where nothing was decoded

    def shifted(self, seconds: float) -> Dropped:
        """Return the same report, `seconds` later."""
        return replace(self, start=self.start + seconds, end=self.end + seconds)


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open interval [start, stop), in samples, that holds speech."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """One engine call's worth of audio. It carries its own offset; nobody recomputes it."""

    samples: Samples  # at most MAX_CHUNK_S long
    start: float  # seconds into the recording
    unsure: bool = False  # sound the VAD does not call speech; its text must be more than likely

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that can change the text. All of it is part of a cache key."""

    task: Task = "transcribe"
    language: str | None = None  # ISO 639-1 as in Whisper; None = detect once per recording
    languages: tuple[str, ...] = ()  # candidates for detection; empty = all the model knows
    multilingual: bool = False  # detect the language of every chunk
    prompt: str = ""  # text the decoder sees before each chunk
    hotwords: tuple[str, ...] = ()  # words to favour
    quality: Quality = "balanced"
    temperature: float = 0.0  # first rung; above 0 the decode is sampled
    vad: VadMode = "auto"
    times: Times = "segment"
    beam_size: int | None = None  # None = what `quality` says
    no_speech_threshold: float = 0.6
    logprob_threshold: float = -1.0
    compression_ratio_threshold: float = 2.4


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What one chunk says. Times count from the chunk's own start."""

    start: float  # seconds into the recording, copied from the chunk
    duration: float
    segments: tuple[Segment, ...]  # () is a result: nobody spoke
    dropped: tuple[Dropped, ...] = ()
    language: str | None = None
    cached: bool = False
    model: str = ""  # which tier of a cascade gave it; empty where there is one


@dataclass(frozen=True, slots=True)
class LiveWord:
    """Live only: a word and the tokens it was written with, which a later decode can be begun with."""

    start: float  # seconds of the session's audio
    end: float
    text: str  # leading space kept; a mark that comes after its word was committed stands alone
    probability: float  # 0..1, mean over the tokens
    tokens: tuple[int, ...]

    @property
    def word(self) -> Word:
        """The same without tokens."""
        return Word(self.start, self.end, self.text, self.probability)


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Live only: the sliding audio, and what is settled about it."""

    samples: Samples  # at most MAX_CHUNK_S long
    start: float  # seconds of the session's audio
    prefix: tuple[int, ...] = ()  # tokens of the committed words inside: the decode begins with them
    before: tuple[int, ...] = ()  # tokens of the committed words that have left it
    settled_s: float = 0.0  # how much of the window the prefix covers
    final: bool = False  # the utterance is over: worth a wider beam

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Continuation:
    """Live only: what a window says after its prefix."""

    words: tuple[LiveWord, ...]  # times of the session's audio, ordered, inside the window
    language: str  # ISO 639-1 as Whisper spells it
    language_probability: float = 1.0  # 1 where the language was given
    avg_logprob: float = 0.0  # mean over the tokens after the prefix
    no_speech_prob: float = 0.0
    loops: bool = False  # repeats itself, or is longer than anybody speaks: not to be believed


@dataclass(frozen=True, slots=True)
class LanguageGuess:
    """The language heard, and how sure the model is."""

    language: str  # ISO 639-1 as Whisper spells it
    probability: float  # 0..1, among the candidates


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a chunk began, and what its result is remembered by."""

    start: float
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """How a recording was cut: with its chunks' results it is the whole answer, without decoding a byte."""

    duration: float
    chunks: tuple[Mark, ...]
    language: str | None
    language_probability: float
    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()


Remembered: TypeAlias = ChunkResult | LanguageGuess | Outline  # what a cache may hold


@dataclass(frozen=True, slots=True)
class Stored:
    """What was put into an object store."""

    size_bytes: int
    sha256: str  # of its bytes, hexadecimal


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to send one object, once, to one address, until it expires."""

    url: str  # absolute; or a path of our own server, to be joined to the address it is reached at
    method: str = "PUT"
    headers: tuple[tuple[str, str], ...] = ()  # to be sent with it exactly so
    fields: tuple[tuple[str, str], ...] = ()  # of a form that is posted: these first, then the part `file`
    expires_at: float = 0.0  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Announced:
    """What a ticket says of the object to come."""

    size_bytes: int
    content_type: str
    sha256: str = ""  # hexadecimal; "" = not announced


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which tier was asked for, which answers, and why they differ."""

    requested: str
    served: str
    reason: str = ""  # empty when served == requested, or all the tiers of `auto` could be had


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the wall-clock time of one transcription went, in seconds."""

    load_s: float = 0.0
    decode_s: float = 0.0
    vad_s: float = 0.0
    engine_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the decoder could get out of a file."""

    samples: Samples  # one channel: the downmix, or the loudest channel where a downmix cancels out
    warnings: tuple[str, ...] = ()  # e.g. "the file ends early: 5.1 s could be decoded"
    channels: tuple[Samples, ...] = ()  # each channel by itself; only when asked for

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


# A recording that is decoded as it is read, from its start each time; told what is wrong with it.
Recording: TypeAlias = Callable[[Callable[[str], None]], Iterable[Samples]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A recording made ready: what to decode, in which language, and what was left out already."""

    chunks: tuple[Chunk, ...]
    options: Options  # `language` resolved, unless multilingual
    duration: float
    language_probability: float = 1.0
    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)
    known: tuple[ChunkResult, ...] = ()  # the whole recording was heard before: then there are no `chunks`
    # A long recording's chunks are not held: these are their starts; they are decoded `again` to be heard.
    elsewhere: tuple[float, ...] = ()
    again: Callable[[], Iterator[Chunk]] | None = None
    language_asked: bool = False  # the language is what the options said, not what was heard

    @property
    def starts(self) -> tuple[float, ...]:
        """Where each chunk begins, seconds into the recording, in order."""
        return (*(r.start for r in self.known), *(c.start for c in self.chunks), *self.elsewhere)

    @property
    def count(self) -> int:
        """How many chunks the recording has."""
        return len(self.chunks) + len(self.known) + len(self.elsewhere)


@dataclass(frozen=True, slots=True)
class Transcript:
    """The answer: what was said in a recording, and when."""

    segments: tuple[Segment, ...]
    language: str  # "" when nothing was decoded and none was given
    duration: float
    task: Task = "transcribe"
    language_probability: float = 1.0
    model: ModelChoice | None = None
    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()  # e.g. the file was cut short and only its good part was heard
    chunks: int = 0
    cached_chunks: int = 0
    served: tuple[str, ...] = ()  # of a cascade: the tier that heard each chunk, in recording order
    timings: Timings = field(default_factory=Timings)

    @property
    def text(self) -> str:
        """All segments' text, in order, joined as the model spaced it and stripped."""
        return "".join(s.text for s in self.segments).strip()

    @property
    def words(self) -> tuple[Word, ...]:
        """Every word of every segment, in order; empty unless word times were asked for."""
        return tuple(w for s in self.segments for w in s.words)
