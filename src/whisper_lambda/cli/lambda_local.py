"""`whisper-lambda lambda-local`: the Lambda function on this machine, behind a Function URL of its own."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from whisper_lambda.cli.terminal import Terminated, say

ROLES = "api, events, plan, chunk, merge"


def lambda_local(
    port: Annotated[
        int, typer.Option("--port", "-p", metavar="NUMBER", min=0, max=65535, help="0 = any free port.")
    ] = 9000,
    role: Annotated[
        str, typer.Option("--role", metavar="NAME", help=f"The function's command: {ROLES}.")
    ] = "api",
    memory: Annotated[
        int,
        typer.Option(
            "--memory", metavar="MB", min=128, max=10240, help="What it may use; beyond it is killed."
        ),
    ] = 3008,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, max=900, help="What one event may take.")
    ] = 60.0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, help="Most environments; beyond it: 429.")
    ] = 1,
    buffered: Annotated[
        bool, typer.Option("--buffered", help="InvokeMode BUFFERED: answers leave whole.", metavar="")
    ] = False,
    snap_start: Annotated[
        bool, typer.Option("--snap-start", help="Have environments offer a snapshot first.", metavar="")
    ] = False,
    keys: Annotated[Path | None, typer.Option("--keys", metavar="FILE", help="File of the API keys.")] = None,
    open_to_everyone: Annotated[
        bool,
        typer.Option(
            "--open-to-everyone", help="Ask for no key, as behind a URL of AuthType AWS_IAM.", metavar=""
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.", metavar="")] = False,
) -> None:
    """Run the Lambda function here, with Lambda's limits, until Ctrl-C.

    Requests become events, environments start as they are needed and stand still between events. 6 MB,
    the timeout and the memory are enforced; the processor is all yours. `aws lambda invoke
    --endpoint-url http://127.0.0.1:PORT` reaches it too. Only this machine can connect.
    """
    from whisper_lambda.aws.local.sandbox import Function
    from whisper_lambda.config import Settings
    from whisper_lambda.errors import BadOption
    from whisper_lambda.http import server
    from whisper_lambda.http.keys import exported, key_file

    del debug  # read by the outermost edge
    variables = {"WHISPER_LAMBDA_LAMBDA_INVOKE_MODE": "buffered" if buffered else "stream"}
    if open_to_everyone:
        variables["WHISPER_LAMBDA_LAMBDA_AUTH"] = "iam"
    else:
        settings = Settings.from_env()
        door = key_file(replace(settings, keys_file=keys or settings.keys_file))
        live = [key for key in door.listed() if key.live(time.time())]
        if not live and role == "api":
            raise BadOption(
                "the function would refuse to start without an API key: make one "
                "(whisper-lambda keys add NAME) or say --open-to-everyone"
            )
        variables["WHISPER_LAMBDA_KEYS"] = exported(live)
    try:
        listener = server.bound("127.0.0.1", port)
    except OSError as cause:
        say(f"error: cannot listen at port {port}: {os.strerror(cause.errno or 0)}")
        raise typer.Exit(1) from cause
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    variables |= {
        "AWS_ENDPOINT_URL_LAMBDA": address,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    function = Function(
        role=role, memory_mb=memory, timeout_s=timeout, snap_start=snap_start, variables=variables
    )
    from whisper_lambda.aws.local.serving import serve

    say(f"function {role}: {address}  ({memory} MB, {timeout:g} s, {concurrency} at once; Ctrl-C stops)")
    with suppress(Terminated, KeyboardInterrupt):  # uvicorn passes on the signal it has already obeyed
        asyncio.run(
            serve(
                listener,
                function,
                concurrency=concurrency,
                buffered=buffered,
                signed=open_to_everyone,
                say=say,
            )
        )
    say("stopped")
