"""`whisper-lambda serve`: the HTTP service on this machine, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whisper_lambda.cli.terminal import Terminated, say

if TYPE_CHECKING:
    from whisper_lambda.http.keys import KeyFile
    from whisper_lambda.staffing import Office


def serve(
    context: typer.Context,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; 0.0.0.0 = every network.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", metavar="NUMBER", min=0, max=65535, help="0 = any free port.")
    ] = 8000,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Default tier or alias.")
    ] = None,
    keys: Annotated[Path | None, typer.Option("--keys", metavar="FILE", help="File of the API keys.")] = None,
    open_to_everyone: Annotated[
        bool, typer.Option("--open-to-everyone", help="Ask nobody for a key.", metavar="")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.", metavar="")] = False,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C, which let what is under way finish.

    Without keys only this machine may connect, unless --open-to-everyone is given.
    """
    from whisper_lambda.bootstrap import build
    from whisper_lambda.config import Settings
    from whisper_lambda.http import server
    from whisper_lambda.http.app import create_app
    from whisper_lambda.http.gates import Gates
    from whisper_lambda.http.keys import key_file
    from whisper_lambda.staffing import Office
    from whisper_lambda.telemetry import configure_logging

    del debug  # read by the outermost edge
    settings = Settings.from_env()
    settings = replace(settings, model=model or settings.model, keys_file=keys or settings.keys_file)
    door = key_file(settings)
    _check_door(host, door, open_to_everyone=open_to_everyone)
    try:
        listener = server.bound(host, port)
    except OSError as cause:
        reason = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
        say(f"error: cannot listen at {host} port {port}: {reason}")
        raise typer.Exit(1) from cause
    configure_logging(settings)
    service = (context.obj["build"] or build)(settings)
    gates = Gates.of(service, settings, open_to_everyone=open_to_everyone)
    office = Office(service, settings)
    app = create_app(service, settings, gates=gates, office=office)

    def listening() -> None:
        _tell(listener, host, door, open_to_everyone=open_to_everyone)
        if settings.jobs_here:
            threading.Thread(target=_hire, args=(office,), name="hire", daemon=True).start()

    served = server.server(app, settings, gates, listening)
    try:
        asyncio.run(served.serve(sockets=[listener]))
    except (Terminated, KeyboardInterrupt):
        pass  # uvicorn passes on the signal it has already obeyed
    finally:
        office.close()
        service.decoders.close()
    say("stopped")


def _hire(office: Office) -> None:
    """Do jobs here too; the queue's libraries load while requests are answered already."""
    from whisper_lambda.errors import WhisperLambdaError

    try:
        office.hire()
    except WhisperLambdaError as failure:
        say(f"jobs are not done here: {failure}")


def _check_door(host: str, door: KeyFile, *, open_to_everyone: bool) -> None:
    """Refuse to let the whole network in by mistake."""
    from whisper_lambda.errors import BadOption
    from whisper_lambda.http.server import only_this_machine

    try:
        beyond = not only_this_machine(host)
    except OSError as cause:
        raise BadOption(f"--host {host}: {cause.strerror}") from cause
    live = [key for key in door.listed() if key.live(time.time())]
    if beyond and not live and not open_to_everyone:
        raise BadOption(
            f"{host} is reached from other machines and there is no API key, so anybody could use this "
            "server. Make a key (whisper-lambda keys add NAME), or say --open-to-everyone"
        )


def _tell(listener: socket.socket, host: str, door: KeyFile, *, open_to_everyone: bool) -> None:
    from whisper_lambda.http.server import only_this_machine

    name = f"[{host}]" if ":" in host else host
    say(f"listening on http://{name}:{listener.getsockname()[1]}  (Ctrl-C stops)")
    live = sum(key.live(time.time()) for key in door.listed())
    if open_to_everyone:
        say("open to everyone: no key is asked for")
    elif door.demanded:
        say(f"API keys are asked for: {live} live in {door.path}")
    else:
        say("open to this machine only: no key is asked for (whisper-lambda keys add NAME makes one)")
    if not only_this_machine(host):
        say("this is plain HTTP: put something that speaks TLS before it (docs/operations.md)")
