"""`whisper-lambda jobs`: hand recordings in and ask after them, on this machine or on a server.

Here, jobs are done by `serve` or `worker` on the same home; there, by the server.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from whisper_lambda.cli.counters import LIVE, LOOK_S, counter
from whisper_lambda.cli.terminal import say, show

app = typer.Typer(no_args_is_help=True, help="Hand in recordings and ask after them.")

_Server = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="A server's jobs; absent = this machine's.")
]
_Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="Its API key; absent = WHISPER_LAMBDA_SERVER_KEY."),
]
_Id = Annotated[str, typer.Argument(metavar="JOB", help="job_..., as `jobs submit` printed it.")]


@app.command("submit")
def submit(
    recording: Annotated[Path, typer.Argument(metavar="FILE", help="The recording.", exists=True)],
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Tier or alias.")] = None,
    language: Annotated[
        str | None, typer.Option("--language", "-l", metavar="NAME", help="es, Spanish, ...; absent = heard.")
    ] = None,
    task: Annotated[
        str, typer.Option("--task", metavar="NAME", help="transcribe, or translate into English.")
    ] = "transcribe",
    format_: Annotated[
        str, typer.Option("--format", "-f", metavar="NAME", help="Of the result, if nobody says.")
    ] = "text",
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="URL", help="Told of the end, signed.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", metavar="TEXT", help="The same key: the same job.")
    ] = None,
    priority: Annotated[
        int, typer.Option("--priority", metavar="N", min=0, max=9, help="Before your own lower ones.")
    ] = 0,
    server: _Server = None,
    key: _Key = None,
) -> None:
    """Hand a recording in and print the job's id."""
    from whisper_lambda.api import options_from
    from whisper_lambda.job import Order
    from whisper_lambda.jobs.desk import Handed
    from whisper_lambda.tenants import LOCAL

    asked: Any = {"task": task, "times": "word"} | ({"language": language} if language else {})
    order = Order(options=options_from(**asked), model=model, answer={"response_format": format_})
    handed = Handed(tenant=LOCAL, priority=priority, idempotency_key=idempotency_key, webhook=webhook)
    with closing(counter(server, key)) as jobs, recording.open("rb") as stream:
        job = jobs.hand_in(stream, order, handed)
    typer.echo(job["id"])
    if not server:
        say("it is done by `whisper-lambda serve` or `whisper-lambda worker` on the same home or database")


@app.command("status")
def status(job_id: _Id, server: _Server = None, key: _Key = None) -> None:
    """Print a job as JSON."""
    with closing(counter(server, key)) as jobs:
        typer.echo(json.dumps(jobs.job(job_id), indent=1))


@app.command("watch")
def watch(job_id: _Id, server: _Server = None, key: _Key = None) -> None:
    """Follow a job to its end; exit with 1 if it is not a good one."""
    told = ""
    with closing(counter(server, key)) as jobs:
        while (job := jobs.job(job_id))["status"] in LIVE:
            line = _line(job)
            if line != told:
                say(line)
                told = line
            time.sleep(LOOK_S)
    say(_line(job))
    if job["status"] != "completed":
        raise typer.Exit(1)


@app.command("result")
def result(
    job_id: _Id,
    format_: Annotated[
        str | None, typer.Option("--format", "-f", metavar="NAME", help="Absent = as handed in.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="What there is, of a job that has not ended well.", metavar="")
    ] = False,
    server: _Server = None,
    key: _Key = None,
) -> None:
    """Print a job's transcript."""
    with closing(counter(server, key)) as jobs:
        show(jobs.result(job_id, format_, partial=partial).body.decode("utf-8", "replace"))


@app.command("cancel")
def cancel(job_id: _Id, server: _Server = None, key: _Key = None) -> None:
    """Cancel a job; what is under way stops within a passage."""
    with closing(counter(server, key)) as jobs:
        say(_line(jobs.cancel(job_id)))


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100, help="Most shown.")] = 20,
    server: _Server = None,
    key: _Key = None,
) -> None:
    """List jobs, newest first."""
    with closing(counter(server, key)) as jobs:
        for job in jobs.listed(limit):
            typer.echo(_line(job))


def _line(job: Mapping[str, Any]) -> str:
    progress = job["progress"]
    share = f"{progress['done_s']:.0f} of {progress['audio_s']:.0f} s" if progress["audio_s"] else "-"
    left = f", about {progress['eta_s']:.0f} s left" if progress["eta_s"] else ""
    why = f": {job['error']['message']}" if job["error"] else ""
    return f"{job['id']}  {job['status']:9}  {share}{left}{why}"
