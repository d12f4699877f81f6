"""Recordings in, one after the other; transcripts printed or written out, remarks on stderr."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_lambda.cli.clips import Clip, clipped
from whisper_lambda.cli.inputs import Recording, read_input, reason
from whisper_lambda.cli.listening import Planned, listen
from whisper_lambda.cli.outputs import file_bases, write_whole
from whisper_lambda.cli.progress import BarDisplay, LineDisplay, clock
from whisper_lambda.cli.terminal import say, show
from whisper_lambda.economy.bounds import Bounds
from whisper_lambda.errors import (
    BadOption,
    ModelCorrupt,
    ModelUnavailable,
    UnknownLanguage,
    UnknownModel,
)
from whisper_lambda.transcript.formats import Renderer, renderer
from whisper_lambda.types import ChunkResult, ModelChoice, Options, Transcript

if TYPE_CHECKING:
    from whisper_lambda.bootstrap import Service, Source

# These would fail every other recording in the same way.
HOPELESS = (BadOption, UnknownLanguage, UnknownModel, ModelUnavailable, ModelCorrupt)


@dataclass(slots=True)
class Run:
    """One call of the command: what is wanted, and what has gone wrong so far."""

    service: Service
    model: str | None
    options: Options
    bounds: Bounds
    clips: tuple[Clip, ...]  # () = the whole recording
    renderers: Sequence[Renderer]
    display: BarDisplay | LineDisplay
    stream: bool
    verbose: bool
    quiet: bool
    debug: bool
    told: set[str] = field(default_factory=set)  # what is said once, however many recordings
    failures: list[tuple[Recording, str]] = field(default_factory=list)


def transcribe_all(run: Run, found: Sequence[Recording], folder: Path | None) -> bool:
    """Transcribe each recording, to files in `folder` or to stdout; close the Service.

    Returns:
        Whether all went well. One that fails does not stop the others.

    Raises:
        WhisperLambdaError: of the kinds that would fail every recording alike.
        BrokenPipeError: nobody reads stdout any more.
        KeyboardInterrupt: the process is asked to end; children are gone, what ran is left alone.
    """
    suffixes = [r.suffix for r in run.renderers]
    bases: list[Path] | list[None] = file_bases(found, folder, suffixes) if folder else [None] * len(found)
    try:
        for recording, base in zip(found, bases, strict=True):
            if len(found) > 1 and not base and not run.quiet:
                say(f"==> {recording.name} <==")
            if recording is found[-1]:
                run.service.decoders.expect(1)
            _transcribe_one(run, recording, base)
    finally:
        run.display.end()
        run.service.decoders.close()  # at once, whatever the engine is in the middle of
    run.service.close()
    if run.failures and len(found) > 1:
        say(f"{len(run.failures)} of {len(found)} recordings failed:")
        for recording, reason in run.failures:
            say(f"  {recording.name}: {reason}")
    return not run.failures


def _transcribe_one(run: Run, recording: Recording, base: Path | None) -> None:
    try:
        _deliver(run, recording, _heard(run, recording), base)
    except (*HOPELESS, BrokenPipeError):
        raise
    except Exception as failure:  # noqa: BLE001 - this recording's failure, whatever it is, is not the next one's
        run.display.end()
        if run.debug:
            traceback.print_exc()
        run.failures.append((recording, reason(failure, recording)))
        say(f"error: {recording.name}: {reason(failure, recording)}")


def _heard(run: Run, recording: Recording) -> Transcript:
    run.display.begin(recording.name)
    source: Source = read_input(recording, max_bytes=run.service.settings.max_audio_mb * 1_000_000)
    if run.clips:
        source = clipped(run.service.decode(source), run.clips)
    transcript = None
    for event in listen(run.service, source, run.options, model=run.model, bounds=run.bounds):
        if isinstance(event, Planned):
            _tell_choice(run, event.choice)
            run.display.planned(event.plan.duration)
        elif isinstance(event, ChunkResult):
            run.display.heard(event.start + event.duration)
            if run.stream:
                _print(run, _so_far(event))
        elif isinstance(event, Transcript):
            transcript = event
        else:
            run.display.tick()
    assert transcript is not None
    return transcript


def _deliver(run: Run, recording: Recording, transcript: Transcript, base: Path | None) -> None:
    """Print the transcript or write its files, then say what should be known about it."""
    run.display.end()
    if base:
        paths = [base.with_name(base.name + r.suffix) for r in run.renderers]
        for path, render in zip(paths, run.renderers, strict=True):
            write_whole(path, render(transcript))
        if not run.quiet:
            say(f"{recording.name} -> {', '.join(map(str, paths))}")
    elif not run.stream:
        _print(run, run.renderers[0](transcript))
    if not run.quiet:
        for line in _remarks(transcript, verbose=run.verbose):
            say(f"{recording.name}: {line}")


def _remarks(transcript: Transcript, *, verbose: bool) -> Iterator[str]:
    yield from (f"warning: {warning}" for warning in transcript.warnings)
    dropped = [d for d in transcript.dropped if verbose or d.text]
    if dropped:
        spans = ", ".join(f"{d.start:.1f}-{d.end:.1f} s ({d.reason})" for d in dropped)
        yield f"left out: {spans}"
    if verbose:
        t, known = transcript.timings, transcript.cached_chunks
        remembered = f" ({known} remembered)" if known else ""
        yield (
            f"{clock(transcript.duration)} in {t.total_s:.2f} s (decoding {t.decode_s:.2f}, finding voices "
            f"{t.vad_s:.2f}, words {t.engine_s:.2f}), {transcript.chunks} chunks{remembered}, "
            f"language {transcript.language or 'none'}"
        )


def _tell_choice(run: Run, choice: ModelChoice) -> None:
    if not choice.reason:
        return
    line = f"model: {choice.served} answers for {choice.requested}: {choice.reason}"
    if line not in run.told and not run.quiet:
        say(line)
    run.told.add(line)


def _so_far(result: ChunkResult) -> str:
    segments = tuple(s.shifted(result.start) for s in result.segments)
    return renderer("text")(Transcript(segments=segments, language="", duration=result.duration))


def _print(run: Run, text: str) -> None:
    with run.display.hidden():
        show(text)
