"""A job's seconds, off its key's day: counted when it is handed in, since a worker elsewhere knows no keys.

Only keys with a limit pay for it: their recordings are decoded once more, and what holds no audio is
refused at once.
"""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio.to_thread
from anyio import CancelScope
from starlette.requests import Request

from whisper_lambda.bootstrap import Service
from whisper_lambda.http.admission import VISIT
from whisper_lambda.http.house import House
from whisper_lambda.http.limits import Paid
from whisper_lambda.http.listening import while_waited_for
from whisper_lambda.http.upload import Recording
from whisper_lambda.job import Job
from whisper_lambda.jobs.desk import Handed
from whisper_lambda.types import SAMPLE_RATE


@asynccontextmanager
async def counted(
    house: House, request: Request, recording: Recording | None, handed: Handed, paid: Paid | None = None
) -> AsyncIterator[Callable[[Job], None]]:
    """Take the recording's length off the key's day; give it back unless a new job comes of it.

    Args:
        house: whose usage is counted.
        request: whose client is watched while the length is found.
        recording: None = it has not come yet (on AWS), and is not counted.
        handed: says whether it may be a job that was accepted before.
        paid: what the request that becomes a job has paid for it already.

    Yields:
        What to call with the job: an earlier one, which an idempotency key brings back, costs nothing.

    Raises:
        AudioQuotaUsed: the day does not hold this much (AudioTooLong: no day does).
        BadAudio: there is no audio in it.
    """
    key = VISIT.get().key
    usage, began, new = house.admission.usage, time.time(), False
    if paid is None:
        if key is None or key.audio_s_per_day is None or recording is None or await _again(house, handed):
            yield lambda _: None
            return
        find = partial(seconds_of, house.service, recording, key.audio_s_per_day)
        audio_s = await while_waited_for(
            request, lambda _: anyio.to_thread.run_sync(find, limiter=house.threads)
        )
        if isinstance(recording, io.FileIO):
            recording.seek(0)
        paid = await anyio.to_thread.run_sync(usage.hear, key, audio_s)

    def fresh(job: Job) -> None:
        nonlocal new
        new = job.created >= began

    try:
        yield fresh
    finally:
        if not new:
            with CancelScope(shield=True):
                await anyio.to_thread.run_sync(usage.give_back, paid)


async def _again(house: House, handed: Handed) -> bool:
    """Tell whether this is a job that was accepted and counted before."""
    return handed.idempotency_key is not None and await anyio.to_thread.run_sync(
        lambda: house.office.desk().repeats(handed), limiter=house.threads
    )


def seconds_of(service: Service, recording: Recording, most_s: float) -> float:
    """Return how long a recording is, from its samples; one beyond `most_s` is not read to its end."""
    samples = 0
    for block in service.recording(recording)(lambda _: None):
        samples += len(block)
        if samples > most_s * SAMPLE_RATE:
            break
    return samples / SAMPLE_RATE
