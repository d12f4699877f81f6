"""The Python face: a recording in, its Transcript out, or its segments one by one.

    import whisper_lambda

    transcript = whisper_lambda.transcribe("talk.mp3", language="es", times="word")
    for segment in whisper_lambda.stream("talk.mp3"):
        print(segment.text)

The module's functions share one Service a process, opened by the first call and closed at
exit: later calls find the model loaded. The environment is read by that first call. To decide
yourself how long models stay loaded, or with which settings, hold a `Transcriber`.
"""

from __future__ import annotations

import atexit
import difflib
import math
import os
import threading
from collections.abc import Generator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, cast, get_args

import numpy as np
from numpy.typing import NDArray

from whisper_lambda.config import Settings
from whisper_lambda.economy.bounds import Bounds
from whisper_lambda.errors import AudioTooLong, BadOption
from whisper_lambda.types import (
    SAMPLE_RATE,
    Options,
    Quality,
    Samples,
    Segment,
    Task,
    Times,
    Transcript,
    VadMode,
)

if TYPE_CHECKING:
    from whisper_lambda.bootstrap import Service

Recording = str | os.PathLike[str] | bytes | Samples

# Float audio may pass 1.0 a little; ten times full scale is integers that were only cast.
LOUDEST = 10.0
LARGEST_BEAM = 32  # CTranslate2 keeps every beam's state: memory grows with it, words do not


class OptionKeywords(TypedDict, total=False):
    """The fields of `Options` as keywords, so that editors and type checkers see them.

    A test holds the names and types equal to those of `Options`. Lists are taken for tuples.
    """

    task: Task
    language: str | None
    languages: Sequence[str]
    multilingual: bool
    prompt: str
    hotwords: Sequence[str]
    quality: Quality
    temperature: float
    vad: VadMode
    times: Times
    beam_size: int | None
    no_speech_threshold: float
    logprob_threshold: float
    compression_ratio_threshold: float


class Transcriber:
    """Holds models loaded and decoders started between calls. Close it, or use `with`.

    Safe to call from many threads: calls made at once share the cores and change no word.
    """

    def __init__(self, settings: Settings | None = None, *, service: Service | None = None) -> None:
        """Open the line.

        Args:
            settings: None = read from the environment (WHISPER_LAMBDA_*).
            service: one already built; it is closed with the Transcriber.

        Raises:
            ValueError: the environment names an unknown setting or a value that does not parse.
        """
        if service is None:
            from whisper_lambda.bootstrap import build  # imports the engine: on first use

            service = build(settings or Settings.from_env())
        self._service = service

    def transcribe(
        self,
        source: Recording,
        *,
        model: str | None = None,
        budget_usd: float | None = None,
        max_latency_s: float | None = None,
        **options: Unpack[OptionKeywords],
    ) -> Transcript:
        """Return the transcript of one recording; see `whisper_lambda.transcribe`."""
        checked = options_from(**options)
        bounds = Bounds(budget_usd=budget_usd, max_latency_s=max_latency_s)
        return self._service.transcribe(self._opened(source), checked, model=model, bounds=bounds)

    def stream(
        self, source: Recording, *, model: str | None = None, **options: Unpack[OptionKeywords]
    ) -> Generator[Segment]:
        """Return the segments of one recording as they are heard; see `whisper_lambda.stream`."""
        checked = options_from(**options)
        return self.heard(self._opened(source), checked, model)

    def heard(
        self, source: Path | bytes | Samples, options: Options, model: str | None = None
    ) -> Generator[Segment]:
        """Yield the segments of a recording; the arguments are taken as already checked."""
        with self._service.hear(source, options, model=model) as hearing:
            for result in hearing.results:
                yield from (segment.shifted(result.start) for segment in result.segments)

    def _opened(self, source: Recording) -> Path | bytes | Samples:
        return checked_source(source, max_audio_s=self._service.settings.max_audio_s)

    def close(self) -> None:
        """Stop the decoding children and free the models."""
        self._service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def transcribe(
    source: Recording,
    *,
    model: str | None = None,
    settings: Settings | None = None,
    budget_usd: float | None = None,
    max_latency_s: float | None = None,
    **options: Unpack[OptionKeywords],
) -> Transcript:
    """Return the transcript of one recording.

    Args:
        source: path of any file FFmpeg reads, its bytes, or float32 samples (n,), mono, 16 kHz.
        model: tier or alias wished for ("small", "turbo"); None = the settings' default. Which
            one answered, and why, is in `transcript.model`.
        settings: use these for this call alone: the model is loaded and freed again. None = the
            process's shared Service, opened on first use.
        budget_usd: most it may cost on Lambda, by our estimate: the best tier that keeps to it,
            no larger than the wish, answers.
        max_latency_s: most seconds it may take here, likewise.
        options: the fields of `Options`; `language` may be a code or an English name.

    Raises:
        OSError: the path does not exist, is a directory or may not be read.
        BadAudio: no audio could be decoded (or one of its kin: EmptyAudio, NoAudioStream).
        AudioTooLong: the recording passes `settings.max_audio_s` (AudioTooLarge: `max_audio_mb`).
        BadOption: an option is out of its range, or the samples have the wrong shape or dtype.
        UnknownLanguage: no such language, or the model does not speak it.
        UnknownModel: no such tier or alias.
        ModelUnavailable: no source has the weights of any tier that would do.
        BoundTooTight: no tier is as cheap or as quick as wanted.
        EngineFailed: the model raised while decoding.
    """
    bounds: dict[str, Any] = {"budget_usd": budget_usd, "max_latency_s": max_latency_s}
    wish: dict[str, Any] = {"model": model, **bounds, **options}
    if settings is None:
        return _shared_transcriber().transcribe(source, **wish)
    with Transcriber(settings) as own:
        return own.transcribe(source, **wish)


def stream(
    source: Recording,
    *,
    model: str | None = None,
    settings: Settings | None = None,
    **options: Unpack[OptionKeywords],
) -> Generator[Segment]:
    """Yield segments on the recording's timeline, in order, as soon as their chunk is done.

    Closing the generator (or leaving it to the garbage collector) gives up the chunks not yet
    begun. Arguments are checked at the call, before the first segment is asked for; what else
    may be raised is listed at `transcribe` and comes with the first segment.
    """
    if settings is None:
        return _shared_transcriber().stream(source, model=model, **options)
    recording = checked_source(source, max_audio_s=settings.max_audio_s)
    return _streamed_alone(settings, recording, options_from(**options), model)


def _streamed_alone(
    settings: Settings, recording: Path | bytes | Samples, options: Options, model: str | None
) -> Generator[Segment]:
    with Transcriber(settings) as own:
        yield from own.heard(recording, options, model)


def options_from(**keywords: Unpack[OptionKeywords]) -> Options:
    """Return checked Options: languages as codes, lists as tuples, every value in its range.

    Raises:
        TypeError: there is no such option.
        BadOption: a value is out of its range, or contradicts another.
        UnknownLanguage: there is no such language.
    """
    given = cast("dict[str, Any]", keywords)
    for name in given.keys() - OptionKeywords.__annotations__.keys():
        near = difflib.get_close_matches(name, OptionKeywords.__annotations__, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"there is no option {name!r}{hint}")
    for name in given.keys() & {"languages", "hotwords"}:
        given[name] = _texts(name, given[name])
    if isinstance(given.get("language"), str):
        given["language"] = _code(given["language"])
    if given.get("languages"):
        given["languages"] = tuple(_code(name) for name in given["languages"])
    options = Options(**given)
    _check_kinds(options)
    _check_ranges(options)
    _check_together(options)
    return options


def checked_source(source: Recording, *, max_audio_s: float) -> Path | bytes | Samples:
    """Return the recording in the form the line takes, refusing early what cannot work.

    Raises:
        OSError: the path does not exist or is a directory.
        BadOption: an address instead of a path, or samples of the wrong shape, dtype or scale.
        AudioTooLong: the samples last longer than `max_audio_s`.
    """
    if isinstance(source, np.ndarray):
        return checked_samples(source, max_audio_s=max_audio_s)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        raise BadOption(f"{source} is an address, not a file: download it first and pass the path")
    if not isinstance(source, str | os.PathLike):
        raise BadOption(
            f"a recording is a path, bytes or a float32 array, not {type(source).__name__}; "
            "for a list of numbers: np.asarray(samples, np.float32)"
        )
    path = Path(source)
    path.stat()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; pass its files one by one")
    return path


def checked_samples(samples: NDArray[Any], *, max_audio_s: float) -> Samples:
    """Return the samples themselves, or say what to do to make them float32 (n,) in [-1, 1].

    Raises:
        BadOption: wrong dtype, shape or scale; empty; NaN or infinite values.
        AudioTooLong: more than `max_audio_s` seconds at 16 kHz.
    """
    if np.issubdtype(samples.dtype, np.integer):
        full = {1: "128", 2: "32768", 4: "2147483648"}.get(samples.dtype.itemsize, "full scale")
        raise BadOption(f"samples are {samples.dtype}: pass samples.astype(np.float32) / {full}")
    if samples.dtype != np.float32:
        raise BadOption(f"samples are {samples.dtype}: pass samples.astype(np.float32)")
    if samples.ndim != 1:
        todo = f": samples.mean(axis={int(np.argmin(samples.shape))}) mixes channels" if samples.ndim else ""
        raise BadOption(f"samples have shape {samples.shape}, (n,) is needed{todo}")
    if not samples.size:
        raise BadOption("samples are empty: there is nothing to transcribe")
    peak = float(np.maximum(-samples.min(), samples.max()))  # NaN if any sample is
    if not math.isfinite(peak):
        raise BadOption("samples hold NaN or infinite values: pass np.nan_to_num(samples)")
    if peak > LOUDEST:
        raise BadOption(f"samples reach {peak:.0f}, full scale is 1.0: divide them, e.g. by 32768")
    seconds = len(samples) / SAMPLE_RATE
    if seconds > max_audio_s:
        raise AudioTooLong(f"{seconds:.0f} s of audio, {max_audio_s:g} s are allowed (max_audio_s)")
    return samples


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise BadOption(f"{name} is a list of strings, not {value!r}")


def _code(language: str) -> str:
    from whisper_lambda.languages import to_code  # a table most calls do not need

    return to_code(language)


def _check_kinds(options: Options) -> None:
    choices: dict[str, Any] = {"task": Task, "quality": Quality, "vad": VadMode, "times": Times}
    for name, kind in choices.items():
        if getattr(options, name) not in get_args(kind):
            raise BadOption(f"{name} is one of {', '.join(get_args(kind))}, not {getattr(options, name)!r}")
    if not isinstance(options.prompt, str):
        raise BadOption(f"prompt is a string, not {options.prompt!r}")
    if not isinstance(options.language, str | None):
        raise BadOption(f"language is a code, a name or None, not {options.language!r}")
    if not isinstance(options.multilingual, bool):
        raise BadOption(f"multilingual is True or False, not {options.multilingual!r}")


def _check_ranges(options: Options) -> None:
    """Refuse numbers that mean nothing to the decoder, NaN among them."""
    for name, low, high in (
        ("temperature", 0.0, 1.0),
        ("no_speech_threshold", 0.0, 1.0),
        ("logprob_threshold", -math.inf, 0.0),
        ("compression_ratio_threshold", 0.0, math.inf),
    ):
        value = getattr(options, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise BadOption(f"{name} is a number from {low:g} to {high:g}, not {value!r}")
    beam = options.beam_size
    if beam is not None and (isinstance(beam, bool) or not isinstance(beam, int) or beam not in _BEAMS):
        raise BadOption(f"beam_size is a whole number from 1 to {LARGEST_BEAM}, not {beam!r}")


_BEAMS = range(1, LARGEST_BEAM + 1)


def _check_together(options: Options) -> None:
    if options.multilingual and options.language:
        raise BadOption("multilingual detects every chunk's language: leave language out or use languages")
    if options.language and options.languages and options.language not in options.languages:
        raise BadOption(
            f"language {options.language!r} is not among languages {', '.join(options.languages)}; give one"
        )


_OPENING = threading.Lock()


def _shared_transcriber() -> Transcriber:
    """Return this process's Transcriber. A forked child gets its own: threads do not survive a fork."""
    with _OPENING:
        return _opened_in(os.getpid())


@cache
def _opened_in(pid: int) -> Transcriber:
    opened = Transcriber()
    atexit.register(_close_in, pid, opened)
    return opened


def _close_in(pid: int, opened: Transcriber) -> None:
    if os.getpid() == pid:  # a forked child must not stop its parent's decoders
        opened.close()
