"""What the queue costs a chunk, on SQLite and on Postgres, and how that grows: `make queue-cost`.

The engine takes no time: what is left is claiming a chunk, reading its audio, and storing its result.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

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


def cost(kind: str, chunks: int) -> tuple[float, float]:
    """Return wall and CPU milliseconds a chunk."""
    with tempfile.TemporaryDirectory() as folder, DATABASES[kind]() as address:
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
            began, cpu = time.perf_counter(), time.process_time()
            worker.desk.fanout.submit(desk.store.job(job.id))
            while desk.store.job(job.id).chunks_done < chunks:
                time.sleep(0.05)
            spent = time.perf_counter() - began, time.process_time() - cpu
            worker.close()
    return spent[0] / chunks * 1000, spent[1] / chunks * 1000


if __name__ == "__main__":
    for chunks in map(int, sys.argv[2:]):
        wall_ms, cpu_ms = cost(sys.argv[1], chunks)
        print(
            f"{sys.argv[1]} {chunks} chunks: {wall_ms:.1f} ms wall, {cpu_ms:.1f} ms CPU a chunk", flush=True
        )
