"""`transcribe --job`: recordings handed in as jobs and followed to their end; Ctrl-C leaves the jobs be.

Here, this process does them itself, with whatever `serve` or `worker` runs on the same home. They are
kept before anything is heard: the same command again goes on where this one was ended.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from whisper_lambda.cli.counters import LIVE, LOOK_S, Here, There
from whisper_lambda.cli.inputs import Recording, read_input, reason
from whisper_lambda.cli.outputs import file_bases
from whisper_lambda.cli.progress import BarDisplay, LineDisplay
from whisper_lambda.cli.remote import HOPELESS, LARGEST_PIPE_BYTES, deliver, warn
from whisper_lambda.cli.terminal import Terminated, say
from whisper_lambda.client.replies import job_failure
from whisper_lambda.errors import WhisperLambdaError
from whisper_lambda.transcript.formats import Layout, Renderer
from whisper_lambda.types import Options

if TYPE_CHECKING:
    from whisper_lambda.bootstrap import Service
    from whisper_lambda.client.steps import Reply
    from whisper_lambda.config import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handing:
    """One call of the command, whose hearing outlives it."""

    counter: Here | There
    working: AbstractContextManager[object]  # does jobs in this process, if any are done here
    server: str | None
    model: str | None
    options: Options
    renderers: Sequence[Renderer]
    display: BarDisplay | LineDisplay
    quiet: bool


def transcribe_by_jobs(handing: Handing, found: Sequence[Recording], folder: Path | None) -> bool:
    """Hand every recording in, then follow one after the other; return whether all went well.

    Raises:
        WhisperLambdaError: of the kinds that would fail every recording alike.
        KeyboardInterrupt, Terminated: this process is asked to end. Its jobs are not.
    """
    suffixes = [r.suffix for r in handing.renderers]
    bases: list[Path] | list[None] = file_bases(found, folder, suffixes) if folder else [None] * len(found)
    waiting: dict[Recording, str] = {}
    delivered = 0
    try:
        for recording in found:
            if (job_id := _tried(handing, recording, lambda r: _handed_in(handing, r))) is not None:
                waiting[recording] = job_id
        with handing.working:
            for recording, base in zip(found, bases, strict=True):
                if len(found) > 1 and not base and not handing.quiet:
                    say(f"==> {recording.name} <==")
                delivered += _delivered(handing, recording, waiting.get(recording), base)
                waiting.pop(recording, None)
    except (KeyboardInterrupt, Terminated):
        handing.display.end()
        for recording, job_id in waiting.items():
            say(f"{recording.name} is kept as {job_id}: {_resumed(handing, job_id)}")
        raise
    return delivered == len(found)


def _delivered(handing: Handing, recording: Recording, job_id: str | None, base: Path | None) -> bool:
    """Follow a job and write what it says; False where it was not handed in, or failed."""
    texts = _tried(handing, recording, lambda r: _followed(handing, r, job_id)) if job_id else None
    if texts is not None:
        deliver(handing, recording, texts, base)
    return texts is not None


@contextmanager
def working(
    counter: Here | There, build: Callable[[Settings], Service], settings: Settings
) -> Iterator[None]:
    """Do jobs in this process, if they are done on this machine; hand on what is under way at the end."""
    if isinstance(counter, There):
        yield
        return
    from whisper_lambda import machine
    from whisper_lambda.staffing import hire

    service = build(settings)
    try:
        hired = hire(service, counter.desk, at_once=settings.jobs_at_once or machine.cores(settings))
        yield
        hired.close()
    finally:
        service.decoders.close()  # at once, whatever the engine is in the middle of


def _tried(handing: Handing, recording: Recording, step: Callable[[Recording], T]) -> T | None:
    try:
        return step(recording)
    except HOPELESS:
        raise
    except (WhisperLambdaError, OSError) as failure:
        handing.display.end()
        say(f"error: {recording.name}: {reason(failure, recording)}")
        return None


def _resumed(handing: Handing, job_id: str) -> str:
    if isinstance(handing.counter, There):
        return f"it goes on there; `whisper-lambda jobs watch {job_id} --server {handing.server}` follows it"
    return "the same command goes on with it, and so does `whisper-lambda worker`"


def _handed_in(handing: Handing, recording: Recording) -> str:
    """Hand a recording in, or find the job it was handed in as before."""
    source = read_input(recording, max_bytes=LARGEST_PIPE_BYTES)
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        asked = hashlib.file_digest(stream, "sha256")
        asked.update(json.dumps([handing.model, repr(handing.options), handing.renderers[0].name]).encode())
        key = f"transcribe-{asked.hexdigest()[:40]}"
        job = _order(handing, stream, key)
        if job["status"] in ("failed", "cancelled"):  # that came to nothing: try anew
            job = _order(handing, stream, f"{key}-{secrets.token_hex(4)}")
    job_id: str = job["id"]
    return job_id


def _order(handing: Handing, stream: BinaryIO, key: str) -> dict[str, Any]:
    from whisper_lambda.job import Order
    from whisper_lambda.jobs.desk import Handed
    from whisper_lambda.tenants import LOCAL

    stream.seek(0)
    answer = {"response_format": handing.renderers[0].name}
    order = Order(options=replace(handing.options, times="word"), model=handing.model, answer=answer)
    return handing.counter.hand_in(stream, order, Handed(tenant=LOCAL, idempotency_key=key))


def _followed(handing: Handing, recording: Recording, job_id: str) -> dict[str, str]:
    """Wait for a job's end; return what it says in each format."""
    handing.display.begin(recording.name)
    planned = False
    while (job := handing.counter.job(job_id))["status"] in LIVE:
        progress = job["progress"]
        if progress["audio_s"] and not planned:
            handing.display.planned(progress["audio_s"])
            planned = True
        if planned:
            handing.display.heard(progress["done_s"])
        else:
            handing.display.told("waiting for its turn" if job["status"] == "queued" else "decoding")
            handing.display.tick()
        time.sleep(LOOK_S)
    handing.display.end()
    if job["status"] != "completed":
        raise job_failure(job)
    read = {r.name: _read(handing, job_id, r) for r in handing.renderers}
    warn(handing, recording, next(iter(read.values())))
    return {name: reply.body.decode("utf-8", "replace") for name, reply in read.items()}


def _read(handing: Handing, job_id: str, renderer: Renderer) -> Reply:
    layout, default = renderer.layout, Layout()
    more = {name: value for name in _LAYOUT if (value := getattr(layout, name)) != getattr(default, name)}
    if renderer.name == "verbose_json" and handing.options.times == "word":
        more["timestamp_granularities"] = ["word", "segment"]
    return handing.counter.result(job_id, renderer.name, partial=False, more=more)


_LAYOUT = ("max_line_width", "max_line_count", "max_words_per_line", "highlight_words")
