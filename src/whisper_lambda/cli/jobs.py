"""`whisper-lambda jobs`: hand recordings in and ask after them, on this machine or on a server.

Here, jobs are done by `serve` or `worker` on the same home; there, by the server.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from whisper_lambda.cli.terminal import harmless, say

if TYPE_CHECKING:
    from whisper_lambda.types import Options

app = typer.Typer(no_args_is_help=True, help="Hand in recordings and ask after them.")

_Server = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="A server's jobs; absent = this machine's.")
]
_Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="Its API key; absent = WHISPER_LAMBDA_SERVER_KEY."),
]
_Id = Annotated[str, typer.Argument(metavar="JOB", help="job_..., as `jobs submit` printed it.")]
LIVE = frozenset({"queued", "running"})
LOOK_S = 0.5
_NOTHING: Mapping[str, Any] = MappingProxyType({})


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
    fields = {
        "model": model,
        "language": language,
        "task": task,
        "response_format": format_,
        "webhook": webhook,
        "idempotency_key": idempotency_key,
        "priority": str(priority),
    }
    given = {name: value for name, value in fields.items() if value is not None}
    with closing(counter(server, key)) as jobs:
        job = jobs.submit(recording, given)
    typer.echo(job["id"])
    if not server:
        say("it is done by `whisper-lambda serve` or `whisper-lambda worker` on this home")


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
        sys.stdout.write(harmless(jobs.result(job_id, format_, partial=partial)))


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


class Here:
    """Jobs of this machine's home."""

    def __init__(self) -> None:
        from whisper_lambda.config import Settings
        from whisper_lambda.staffing import open_desk

        self.desk = open_desk(Settings.from_env())

    def order(
        self,
        stream: BinaryIO,
        options: Options,
        *,
        model: str | None,
        answer: Mapping[str, str],
        idempotency_key: str,
    ) -> dict[str, Any]:
        """Hand in what a stream holds, or find the job that has the key."""
        from whisper_lambda.job import Order
        from whisper_lambda.jobs.desk import Handed
        from whisper_lambda.tenants import LOCAL

        handed = Handed(tenant=LOCAL, idempotency_key=idempotency_key)
        return self._wire(
            self.desk.accept(Order(options=options, model=model, answer=answer), stream, handed)
        )

    def submit(self, recording: Path, fields: Mapping[str, str]) -> dict[str, Any]:
        """Hand it in."""
        from whisper_lambda.api import options_from
        from whisper_lambda.job import Order
        from whisper_lambda.jobs import webhooks
        from whisper_lambda.jobs.desk import Handed
        from whisper_lambda.tenants import LOCAL
        from whisper_lambda.transcript.formats import renderer

        chosen: Any = {name: fields[name] for name in ("language", "task") if name in fields}
        order = Order(
            options=options_from(**chosen, times="word"),
            model=fields.get("model"),
            answer={"response_format": renderer(fields["response_format"]).name},
        )
        address = fields.get("webhook")
        handed = Handed(
            tenant=LOCAL,
            priority=int(fields["priority"]),
            idempotency_key=fields.get("idempotency_key"),
            webhook=address and webhooks.checked(address, private=self.desk.settings.webhooks_private),
        )
        with recording.open("rb") as stream:
            return self._wire(self.desk.accept(order, stream, handed))

    def job(self, job_id: str) -> dict[str, Any]:
        """Ask after it."""
        return self._wire(self.desk.job(job_id, ""))

    def result(
        self, job_id: str, name: str | None, *, partial: bool, more: Mapping[str, Any] = _NOTHING
    ) -> str:
        """Read its transcript; `more` = fields of the route."""
        from whisper_lambda.http import jobviews

        job = self.desk.job(job_id, "")
        transcript = self.desk.transcript(job, partial=partial)
        asked = {**more, **({"format": name} if name else {})}
        body = jobviews.result(job, transcript, asked, self.desk.settings).body
        return bytes(body).decode()

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel it."""
        return self._wire(self.desk.cancel(job_id, ""))

    def listed(self, limit: int) -> list[dict[str, Any]]:
        """List the newest."""
        return [self._wire(job) for job in self.desk.listed("", limit=limit)]

    def close(self) -> None:
        """Close the store."""
        self.desk.store.close()

    def _wire(self, job: Any) -> dict[str, Any]:  # noqa: ANN401 - a Job; its module is loaded late
        from whisper_lambda.http import jobviews

        return jobviews.to_wire(job, time.time())


class There:
    """Jobs of a server."""

    def __init__(self, server: str, key: str | None) -> None:
        import httpx2

        from whisper_lambda.config import Settings

        key = key or Settings.from_env().server_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        address = f"{server.rstrip('/').removesuffix('/v1')}/v1"
        self._http = httpx2.Client(base_url=address, headers=headers, timeout=600)

    def order(
        self,
        stream: BinaryIO,
        options: Options,
        *,
        model: str | None,
        answer: Mapping[str, str],
        idempotency_key: str,
    ) -> dict[str, Any]:
        """Hand in what a stream holds, or find the job that has the key."""
        from whisper_lambda.client.asking import form

        fields: dict[str, list[str]] = {"idempotency_key": [idempotency_key], "task": [options.task]}
        # Words' times come with every job; saying so would ask for verbose_json.
        for name, value in (*form(replace(options, times="segment"), model), *answer.items()):
            fields.setdefault(name, []).append(value)
        return self._asked("POST", "/jobs", data=fields, files={"file": stream})

    def submit(self, recording: Path, fields: Mapping[str, str]) -> dict[str, Any]:
        """Hand it in."""
        with recording.open("rb") as stream:
            return self._asked("POST", "/jobs", data=fields, files={"file": stream})

    def job(self, job_id: str) -> dict[str, Any]:
        """Ask after it."""
        return self._asked("GET", f"/jobs/{job_id}")

    def result(
        self, job_id: str, name: str | None, *, partial: bool, more: Mapping[str, Any] = _NOTHING
    ) -> str:
        """Read its transcript; `more` = fields of the route."""
        asked = {**more, **({"format": name} if name else {}), **({"partial": "true"} if partial else {})}
        text: str = self._answer("GET", f"/jobs/{job_id}/result", params=asked).text
        return text

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel it."""
        return self._asked("DELETE", f"/jobs/{job_id}")

    def listed(self, limit: int) -> list[dict[str, Any]]:
        """List the newest."""
        data: list[dict[str, Any]] = self._asked("GET", "/jobs", params={"limit": limit})["data"]
        return data

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - passed on
        wire: dict[str, Any] = self._answer(method, path, **more).json()
        return wire

    def _answer(self, method: str, path: str, **more: Any) -> Any:  # noqa: ANN401 - httpx2's, loaded late
        import httpx2

        from whisper_lambda.client.replies import failure
        from whisper_lambda.client.steps import Reply
        from whisper_lambda.errors import ServerUnreachable

        try:
            answer = self._http.request(method, path, **more)
        except httpx2.HTTPError as cause:
            raise ServerUnreachable(f"the server cannot be reached: {type(cause).__name__}") from cause
        if answer.is_error:
            raise failure(Reply(answer.status_code, dict(answer.headers), answer.content))
        return answer


def counter(server: str | None, key: str | None) -> Here | There:
    """Return where jobs are asked after: a server's, or this machine's home."""
    return There(server, key) if server else Here()
