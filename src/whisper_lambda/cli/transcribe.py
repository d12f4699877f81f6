"""`whisper-lambda transcribe`: recordings in, their transcripts on stdout or in files out."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from whisper_lambda.api import options_from
from whisper_lambda.audio.encode import KBIT_PER_S
from whisper_lambda.cli import importing
from whisper_lambda.cli.clips import parse_clips
from whisper_lambda.cli.flags import Flag, parameters
from whisper_lambda.cli.inputs import recordings
from whisper_lambda.cli.outputs import prepare_folder
from whisper_lambda.cli.progress import LINE_EVERY_VERBOSE_S, BarDisplay, LineDisplay
from whisper_lambda.cli.recordings import Run, transcribe_all
from whisper_lambda.cli.whisper_flags import ours
from whisper_lambda.client.wanted import Compress
from whisper_lambda.config import Settings, WrongSetting
from whisper_lambda.economy.bounds import Bounds
from whisper_lambda.errors import BadOption
from whisper_lambda.transcript.formats import FORMATS, Layout, Renderer, needs, renderer
from whisper_lambda.types import Quality, Task, Times, VadMode

if TYPE_CHECKING:
    from whisper_lambda.bootstrap import Service

_ANY_LANGUAGE = {"", "auto", "none"}  # what Whisper's tools call detection


# Below the list of flags in the help.
EPILOG = (
    "Flags of openai-whisper and whisper-ctranslate2 work too, spelt with _ or -; one that cannot be "
    "honoured is refused with the reason."
)


def _flag(
    panel: str, text: str, *names: str, value: str = "", default: str = "", minimum: int | None = None
) -> Flag:
    return Flag(names, text, panel, value, minimum, default)


_out = partial(_flag, "Output")
_model = partial(_flag, "Model")
_words = partial(_flag, "What is said")
_doubt = partial(_flag, "What is believed")
_lines = partial(_flag, "Subtitles")
_run = partial(_flag, "This run")
_there = partial(_flag, "Elsewhere")


def transcribe(
    inputs: Annotated[
        list[str],
        Flag((), "Recordings; - is standard input.", value="FILE|DIR|GLOB|-..."),
    ],
    format_: Annotated[
        list[str],
        _out(f"{', '.join(FORMATS)}; several with commas; or all.", "--format", "-f", value="NAME"),
    ] = ["text"],  # noqa: B006 - never changed
    output_dir: Annotated[
        Path | None, _out("Write files here, named after the inputs.", "--output-dir", "-o", value="DIR")
    ] = None,
    stream: Annotated[
        bool | None,
        _out("Print text as it is heard.", "--stream/--no-stream", default="on a terminal"),
    ] = None,
    model: Annotated[
        str | None, _model("tiny, base, small, ... turbo, or an alias.", "--model", "-m", value="NAME")
    ] = None,
    model_dir: Annotated[
        Path | None, _model("Folder of model folders to look in first.", "--model-dir", value="DIR")
    ] = None,
    local_files_only: Annotated[bool, _model("Fetch nothing from the hub.", "--local-files-only")] = False,
    quality: Annotated[
        Quality, _model("fast, balanced or best.", "--quality", "-q", value="NAME")
    ] = "balanced",
    language: Annotated[
        str | None,
        _words("es, Spanish, ...", "--language", "-l", value="NAME", default="detected"),
    ] = None,
    languages: Annotated[
        list[str], _words("Detect among these only: es,en.", "--languages", value="NAMES")
    ] = [],  # noqa: B006 - never changed
    multilingual: Annotated[bool, _words("Detect anew in every passage.", "--multilingual")] = False,
    task: Annotated[
        Task, _words("transcribe, or translate into English.", "--task", value="NAME")
    ] = "transcribe",
    prompt: Annotated[
        str, _words("Text in the style and spelling wanted.", "--prompt", value="TEXT", default="-")
    ] = "",
    hotwords: Annotated[
        list[str], _words("Names and words to expect, with commas.", "--hotwords", value="WORDS")
    ] = [],  # noqa: B006 - never changed
    clip_timestamps: Annotated[
        str,
        _words("Hear these seconds only: 0,10,60,90.", "--clip-timestamps", value="T,T", default="-"),
    ] = "",
    vad: Annotated[
        VadMode,
        _doubt("Skip what is not voice: auto, on, off. auto hears singing too.", "--vad", value="MODE"),
    ] = "auto",
    vad_filter: Annotated[
        bool | None, Flag(("--vad-filter/--no-vad-filter",), "Whisper-ctranslate2's --vad.", hidden=True)
    ] = None,
    temperature: Annotated[float, _doubt("Above 0, words are sampled.", "--temperature", value="X")] = 0.0,
    beam_size: Annotated[
        int | None, _doubt("Beams to search.", "--beam-size", value="N", default="by quality")
    ] = None,
    no_speech_threshold: Annotated[
        float, _doubt("Above: silence.", "--no-speech-threshold", value="X")
    ] = 0.6,
    logprob_threshold: Annotated[float, _doubt("Below: doubtful.", "--logprob-threshold", value="X")] = -1.0,
    compression_ratio_threshold: Annotated[
        float, _doubt("Above: a loop.", "--compression-ratio-threshold", value="X")
    ] = 2.4,
    word_timestamps: Annotated[
        bool, _lines("Time every word (in verbose_json).", "--word-timestamps")
    ] = False,
    highlight_words: Annotated[
        bool, _lines("Underline each word while it is said.", "--highlight-words")
    ] = False,
    max_line_width: Annotated[int | None, _lines("Characters a line.", "--max-line-width", value="N")] = None,
    max_line_count: Annotated[int | None, _lines("Lines at once.", "--max-line-count", value="N")] = None,
    max_words_per_line: Annotated[
        int | None, _lines("Words a line.", "--max-words-per-line", value="N")
    ] = None,
    server: Annotated[
        str | None, _there("Have it heard there: https://...", "--server", value="URL", default="here")
    ] = None,
    key: Annotated[
        str | None,
        _there("Its API key.", "--key", value="KEY", default="WHISPER_LAMBDA_SERVER_KEY"),
    ] = None,
    compress: Annotated[
        Compress, _there("Send Opus: auto (where it helps), always, never.", "--compress", value="WHEN")
    ] = "auto",
    kbit_per_s: Annotated[float, _there("Of the Opus.", "--kbit-per-s", value="X")] = KBIT_PER_S,
    budget_usd: Annotated[
        float | None,
        _model("Most it may cost; chooses the tier.", "--budget-usd", value="USD", default="-"),
    ] = None,
    max_latency_s: Annotated[
        float | None,
        _model("Most it may take; chooses the tier.", "--max-latency-s", value="S", default="-"),
    ] = None,
    job: Annotated[
        bool, _run("Hand it in as a job and wait for it: Ctrl-C and crashes lose nothing heard.", "--job")
    ] = False,
    threads: Annotated[
        int | None, _run("Cores to use.", "--threads", value="N", minimum=0, default="all")
    ] = None,
    batch_size: Annotated[
        int | None, _run("Passages decoded together on a core.", "--batch-size", value="N", minimum=1)
    ] = None,
    no_cache: Annotated[bool, _run("Hear it anew: recall and remember nothing.", "--no-cache")] = False,
    verbose: Annotated[bool, _run("Say more on stderr.", "--verbose", "-v")] = False,
    quiet: Annotated[bool, _run("Say errors only.", "--quiet")] = False,
    debug: Annotated[bool, _run("Show where an error arose.", "--debug")] = False,
    *,
    build: Callable[[Settings], Any] | None = None,
) -> int:
    """Write down what is said in recordings.

    Without --output-dir the transcript goes to stdout, and nothing else does.
    """
    layout = Layout(
        max_line_width=max_line_width,
        max_line_count=max_line_count,
        max_words_per_line=max_words_per_line,
        highlight_words=highlight_words,
    )
    renderers = [renderer(name, layout) for name in _formats(format_)]
    options = options_from(
        task=task,
        language=None if (language or "").strip().lower() in _ANY_LANGUAGE else language,
        languages=_parts(languages),
        multilingual=multilingual,
        prompt=prompt,
        hotwords=_parts(hotwords),
        quality=quality,
        temperature=temperature,
        vad=vad if vad_filter is None else "on" if vad_filter else "off",
        times=_times(renderers, word_timestamps=word_timestamps),
        beam_size=beam_size,
        no_speech_threshold=no_speech_threshold,
        logprob_threshold=logprob_threshold,
        compression_ratio_threshold=compression_ratio_threshold,
    )
    settings = _settings(model_dir, local_files_only, threads, batch_size)
    settings = replace(settings, cache_mb=0) if no_cache else settings
    found = recordings(inputs)
    folder = output_dir or (Path() if len(renderers) > 1 else None)
    if folder:
        prepare_folder(folder)
    elif len(found) > 1 and renderers[0].name != "text":
        raise BadOption(
            f"{len(found)} recordings as {renderers[0].name} cannot share stdout: give --output-dir"
        )
    display = _display(verbose=verbose, quiet=quiet)
    if server:
        _refuse(
            "with hearing it here, not with --server",
            ("--clip-timestamps", clip_timestamps),
            ("--model-dir", model_dir),
            ("--local-files-only", local_files_only),
            ("--threads", threads is not None),
            ("--batch-size", batch_size),
            ("--no-cache", no_cache),
            ("--stream", stream),
        )
    if job:
        _refuse(
            "without --job",
            ("--clip-timestamps", clip_timestamps),
            ("--stream", stream),
            ("--budget-usd", budget_usd is not None),
            ("--max-latency-s", max_latency_s is not None),
            ("--compress", compress != "auto"),
            ("--kbit-per-s", kbit_per_s != KBIT_PER_S),
        )
        from whisper_lambda.cli.counters import counter
        from whisper_lambda.cli.handing import Handing, transcribe_by_jobs, working

        jobs = counter(server, key, settings)
        handing = Handing(
            counter=jobs,
            working=working(jobs, build or _builder(display), settings),
            server=server,
            model=model,
            options=options,
            renderers=renderers,
            display=display,
            quiet=quiet,
        )
        with closing(jobs):
            return 0 if transcribe_by_jobs(handing, found, folder) else 1
    if server:
        from whisper_lambda.cli.remote import Errand, transcribe_remotely
        from whisper_lambda.client.client import Client

        errand = Errand(
            client=Client(server, key or settings.server_key, compress=compress, kbit_per_s=kbit_per_s),
            model=model,
            options=options,
            renderers=renderers,
            budget_usd=budget_usd,
            max_latency_s=max_latency_s,
            display=display,
            quiet=quiet,
        )
        return 0 if transcribe_remotely(errand, found, folder) else 1
    run = Run(
        service=(build or _builder(display))(settings),
        model=model,
        options=options,
        bounds=Bounds(budget_usd=budget_usd, max_latency_s=max_latency_s),
        clips=parse_clips(clip_timestamps),
        renderers=renderers,
        display=display,
        stream=not folder
        and renderers[0].name == "text"
        and (sys.stdout.isatty() if stream is None else stream),
        verbose=verbose,
        quiet=quiet,
        debug=debug,
    )
    return 0 if transcribe_all(run, found, folder) else 1


def _refuse(why: str, *given: tuple[str, object]) -> None:
    """Refuse flags that would have no effect: none is ignored.

    Raises:
        BadOption: some are given.
    """
    if names := [name for name, value in given if value]:
        raise BadOption(f"{' and '.join(names)} {'goes' if len(names) == 1 else 'go'} {why}")


def translated(args: Sequence[str]) -> list[str]:
    """Return the arguments with the habits of Whisper's other tools translated.

    Raises:
        BadOption: a flag asks for what cannot be had.
    """
    flags = [p for p in parameters(transcribe) if p.flag.names]
    switches = {name: p.opposite for p in flags if p.is_switch for name in p.spellings}
    valued = {name for p in flags if not p.is_switch for name in p.spellings}
    return ours(args, switches=switches, valued=valued)


def _formats(wished: Iterable[str]) -> list[str]:
    """Return the formats by their own names, each once."""
    names = [name for name in _parts(wished) if name != "all"]
    names = list(FORMATS) if "all" in _parts(wished) else [renderer(name).name for name in names]
    if not names:
        raise BadOption(f"--format needs a name: {', '.join(FORMATS)} or all")
    return list(dict.fromkeys(names))


def _parts(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _times(renderers: Iterable[Renderer], *, word_timestamps: bool) -> Times:
    """Return the least times that will do: computing them costs an alignment."""
    order: tuple[Times, ...] = ("none", "segment", "word")
    wanted = [needs(r.name, r.layout) for r in renderers] + (["word"] if word_timestamps else [])
    return max(wanted, key=order.index)


def _settings(
    model_dir: Path | None, local_files_only: bool, threads: int | None, batch_size: int | None
) -> Settings:
    if model_dir and not model_dir.is_dir():
        raise BadOption(f"--model-dir {model_dir}: there is no such folder")
    try:
        settings = Settings.from_env()
        return replace(
            settings,
            model_dir=model_dir or settings.model_dir,
            hub=settings.hub and not local_files_only,
            threads=settings.threads if threads is None else threads,
            batch_size=batch_size or settings.batch_size,
        )
    except WrongSetting as cause:
        raise BadOption(str(cause)) from cause


def _builder(display: BarDisplay | LineDisplay) -> Callable[[Settings], Service]:
    with importing():
        from whisper_lambda.bootstrap import build

    return partial(build, progress=display.fetched)


def _display(*, verbose: bool, quiet: bool) -> BarDisplay | LineDisplay:
    if quiet:
        return LineDisplay(math.inf)
    if verbose:
        return LineDisplay(LINE_EVERY_VERBOSE_S)
    return BarDisplay() if sys.stderr.isatty() else LineDisplay()
