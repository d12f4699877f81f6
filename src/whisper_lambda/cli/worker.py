"""`whisper-lambda worker`: do jobs from a queue shared with any number of other machines."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from whisper_lambda.cli.terminal import say


def worker(
    context: typer.Context,
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="ADDRESS", help="postgresql://...; absent = SQLite in the home."),
    ] = None,
    objects: Annotated[
        Path | None,
        typer.Option("--objects", metavar="DIR", help="Directory of recordings, the same for all workers."),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option("--at-once", metavar="N", min=1, help="Chunks heard at the same time; absent = cores."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", min=1, help="Cores to use; absent = all.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Default tier or alias.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.", metavar="")] = False,
) -> None:
    """Do jobs until SIGTERM or Ctrl-C, which let what is under way finish.

    A worker that dies costs its current chunk: another takes it up.
    """
    from whisper_lambda import machine
    from whisper_lambda.bootstrap import build
    from whisper_lambda.config import Settings
    from whisper_lambda.staffing import hire, open_desk
    from whisper_lambda.telemetry import configure_logging

    del debug  # read by the outermost edge
    settings = Settings.from_env()
    settings = replace(
        settings,
        model=model or settings.model,
        threads=threads or settings.threads,
        jobs_database=database or settings.jobs_database,
        jobs_objects=objects or settings.jobs_objects,
    )
    configure_logging(settings)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    desk = open_desk(settings)
    service = (context.obj["build"] or build)(settings)
    hired = hire(service, desk, at_once=at_once or settings.jobs_at_once or machine.cores(settings))
    say("working (Ctrl-C stops)")
    told.wait()
    say("finishing what is under way")
    hired.close()
    service.decoders.close()
    say("stopped")
