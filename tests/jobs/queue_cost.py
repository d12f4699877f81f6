"""What the queue costs a chunk, on SQLite and on Postgres, and how that grows: `make queue-cost`.

The engine takes no time: what is left is claiming a chunk, reading its audio, and storing its result.
One job is done, and told in powers of ten: whether a chunk costs more with many before it. Of Postgres, the
server's own processor time is not counted.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from databases import DATABASES
from fakes import FakeEngine, fake_service
from whisper_lambda.config import Settings
from whisper_lambda.job import LIVE, Order, PlanSheet, Voice
from whisper_lambda.jobs import places
from whisper_lambda.jobs.desk import Handed
from whisper_lambda.plain import to_plain
from whisper_lambda.staffing import hire, open_desk
from whisper_lambda.types import SAMPLE_RATE, Chunk, ModelChoice, Options


class Moment(NamedTuple):
    """So many chunks are done."""

    chunks: int
    wall_s: float
    cpu_s: float  # of this process


def progress(kind: str, chunks: int) -> Iterator[Moment]:
    """Do a job of so many chunks; yield its beginning, each power of ten as it is reached, and its end."""
    # What deletes the audio of a job that ended may still be at it when the worker has been closed.
    gone = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with gone as folder, DATABASES[kind]() as address:
        settings = Settings(
            home=Path(folder),
            jobs_database=address if kind == "postgres" else None,
            jobs_poll_s=0.02,
            cache_mb=0,
        )
        desk = open_desk(settings)
        options = Options(language="es", times="word")
        job = desk.accept(Order(options=options), b"x", Handed(tenant="t"))
        for index in range(chunks):
            sound = Chunk(np.zeros(SAMPLE_RATE // 100, np.float32), float(index))
            desk.objects.put(places.chunk_key(job, index), places.to_bytes(sound, 0))
        sheet = PlanSheet((Voice(options, float(chunks), chunks),))
        desk.objects.put(places.plan_key(job), json.dumps(to_plain(sheet)).encode())
        desk.store.change(
            job.id,
            LIVE,
            state="running",
            started=time.time(),
            chunks=chunks,
            choice=ModelChoice("base", "base"),
        )
        with fake_service(FakeEngine(), settings) as service:
            worker = hire(service, desk, at_once=8)
            worker.desk.fanout.submit(desk.store.job(job.id))
            done, wanted = 0, 10
            yield Moment(done, time.perf_counter(), time.process_time())
            while done < chunks:
                time.sleep(0.05)
                done = desk.store.job(job.id).chunks_done
                if done >= min(wanted, chunks):
                    yield Moment(done, time.perf_counter(), time.process_time())
                    wanted *= 10
            while desk.store.job(job.id).state in LIVE:
                time.sleep(0.05)
            yield Moment(done, time.perf_counter(), time.process_time())
            worker.close()


if __name__ == "__main__":
    before: Moment | None = None
    for moment in progress(sys.argv[1], int(sys.argv[2])):
        if before:
            many = moment.chunks - before.chunks
            spent = moment.wall_s - before.wall_s, moment.cpu_s - before.cpu_s
            each = tuple(s / many * 1000 for s in spent) if many else ()
            print(
                f"{sys.argv[1]}, chunks {before.chunks} to {moment.chunks}: {each[0]:.1f} ms wall, "
                f"{each[1]:.1f} ms CPU each"
                if each
                else f"{sys.argv[1]}, merging {moment.chunks}: {spent[0]:.1f} s wall, {spent[1]:.1f} s CPU",
                flush=True,
            )
        before = moment
