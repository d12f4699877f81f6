"""How much sooner a job is done by more workers, with an engine that takes a known time: `make many-workers`.

One job of many chunks, its workers started before it is planned; from the plan to the end. The engine sleeps,
so eight workers fit on two cores: what is measured is whether the queue keeps them busy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from history import OPTIONS, expected, recording
from stub_worker import started

from databases import DATABASES
from whisper_lambda.adapters.sql import Database, sqlite_at, workers
from whisper_lambda.config import Settings
from whisper_lambda.job import LIVE, Order
from whisper_lambda.jobs.desk import Handed
from whisper_lambda.staffing import open_desk


def seconds(kind: str, count: int, chunks: int, delay_s: float) -> float:
    """Return how long a job's chunks took so many workers; its words are checked."""
    with tempfile.TemporaryDirectory() as folder, DATABASES[kind]() as address:
        home = Path(folder)
        environment = {
            "WHISPER_LAMBDA_HOME": folder,
            "WHISPER_LAMBDA_JOBS_POLL_S": "0.1",
            "WHISPER_LAMBDA_JOBS_LEASE_S": "60",
            "WHISPER_LAMBDA_CACHE_MB": "0",
            "WHISPER_LAMBDA_DECODERS": "0",
            "STUB_DELAY_S": str(delay_s),
        }
        if kind == "postgres":
            environment["WHISPER_LAMBDA_JOBS_DATABASE"] = address
        postgres = address if kind == "postgres" else None
        desk = open_desk(Settings(home=home, jobs_database=postgres))
        queue = Database(postgres or sqlite_at(home / "jobs" / "queue.sqlite"))
        team = [started(environment, home / f"{n}.log", "--at-once", "1") for n in range(count)]
        try:
            while _beating(queue) < count:
                time.sleep(0.1)
            job = desk.accept(Order(options=OPTIONS), recording(1, chunks), Handed(tenant="t"))
            while desk.store.job(job.id).chunks is None:
                time.sleep(0.02)
            began = time.perf_counter()
            while desk.store.job(job.id).state in LIVE:
                time.sleep(0.05)
            took_s = time.perf_counter() - began
            assert desk.transcript(desk.store.job(job.id)).text == expected(1, chunks)
        finally:
            for worker in team:
                worker.terminate()
            for worker in team:
                worker.join(30)
            queue.close()
            desk.store.close()
        return took_s


def _beating(queue: Database) -> int:
    with queue.reading() as connection:
        return len(connection.execute(workers.select()).all())


def main() -> None:
    """Measure each number of workers and print a line."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("database", choices=sorted(DATABASES))
    reader.add_argument("--chunks", type=int, default=64)
    reader.add_argument("--delay-s", type=float, default=2.0)
    reader.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    given = reader.parse_args()
    alone_s = given.chunks * given.delay_s
    for count in given.workers:
        took_s = seconds(given.database, count, given.chunks, given.delay_s)
        print(
            f"{given.database}: {count} workers, {given.chunks} chunks of {given.delay_s} s: {took_s:.1f} s, "
            f"{alone_s / took_s:.2f} times the engine alone, {alone_s / took_s / count:.0%} of each",
            flush=True,
        )


if __name__ == "__main__":
    main()
