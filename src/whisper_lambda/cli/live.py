"""`whisper-lambda live`: words as they are spoken, from a microphone, a file or PCM on stdin."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def live(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(help="`-` = raw 16-bit PCM on stdin; absent = the microphone.", show_default=False),
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", metavar="FILE", help="Play a recording in real time.")
    ] = None,
    rate: Annotated[
        int, typer.Option("--rate", metavar="HZ", min=8000, max=48000, help="Of PCM on stdin.")
    ] = 16_000,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Microphone, by name or number.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Tier or alias.")] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", "-l", metavar="CODE", help="Absent = heard each time."),
    ] = None,
    delay: Annotated[
        str, typer.Option("--delay", help="minimal, low, medium, high or xhigh: later, surer, cheaper.")
    ] = "low",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Written as it goes: .srt, .vtt, .jsonl or .txt."
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.", metavar="")] = False,
) -> None:
    """Write down what is being said, until it ends or Ctrl-C.

    Committed words are plain and never change; on a terminal, what is heard beyond them is dimmed.
    """
    from whisper_lambda.bootstrap import build
    from whisper_lambda.cli import captions, hearing
    from whisper_lambda.config import Settings
    from whisper_lambda.errors import BadOption
    from whisper_lambda.languages import to_code
    from whisper_lambda.live.pace import PACES
    from whisper_lambda.live.session import Session
    from whisper_lambda.types import Options

    del debug  # read by the outermost edge
    if source not in {None, "-"} or (source and from_file):
        raise BadOption("the source is `-`, or --from-file FILE, or neither: the microphone")
    pace = next((p for name, p in PACES.items() if name == delay), None)
    if pace is None:
        raise BadOption(f"--delay is one of {', '.join(PACES)}, not {delay!r}")
    options = Options(language=to_code(language) if language else None, times="word")
    settings = Settings.from_env()
    settings = replace(settings, model=model or settings.model)
    with ExitStack() as held:
        service = (context.obj["build"] or build)(settings)
        held.callback(service.decoders.close)
        if source == "-":
            audio = hearing.stdin(rate)
        elif from_file:
            audio = hearing.played(service.decode(from_file).samples)
        else:
            audio = held.enter_context(hearing.microphone(device))
        screen = held.enter_context(captions.screen(sys.stdout, output))
        engine, _ = held.enter_context(service.router.engine(model))
        session = Session(engine, options, pace=pace)
        try:
            hearing.listen(session, audio, screen.show)
        except KeyboardInterrupt:
            screen.show(session.finish())
            raise
