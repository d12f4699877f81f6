"""How much sooner a job is done by more workers: `make many-workers`, `make two-workers RECORDING=...`.

From the plan to the end, workers started before. With an engine that takes a known time and sleeps, eight
workers fit on two cores: what is measured is whether the queue keeps them busy. With real weights two
workers of one thread each stand against one of one thread, and one of two.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from history import OPTIONS, SPOKEN, expected, recording, spoken
from stub_worker import started

from databases import DATABASES
from whisper_lambda.adapters.sql import Database, sqlite_at, workers
from whisper_lambda.bootstrap import build
from whisper_lambda.config import Settings
from whisper_lambda.job import LIVE, Order
from whisper_lambda.jobs.desk import Desk, Handed
from whisper_lambda.staffing import open_desk
from whisper_lambda.types import Options


@contextmanager
def team(kind: str, count: int, more: dict[str, str], *args: str) -> Iterator[Desk]:
    """Start so many workers; give the desk when all of them beat."""
    with tempfile.TemporaryDirectory() as folder, DATABASES[kind]() as address:
        home = Path(folder)
        environment = {
            "WHISPER_LAMBDA_HOME": folder,
            "WHISPER_LAMBDA_JOBS_POLL_S": "0.1",
            "WHISPER_LAMBDA_JOBS_LEASE_S": "60",
            "WHISPER_LAMBDA_CACHE_MB": "0",
            "WHISPER_LAMBDA_DECODERS": "0",
            **more,
        }
        if "REAL_WEIGHTS" in more:
            (home / "models").symlink_to(Settings.from_env().home / "models")
        if kind == "postgres":
            environment["WHISPER_LAMBDA_JOBS_DATABASE"] = address
        postgres = address if kind == "postgres" else None
        desk = open_desk(Settings(home=home, jobs_database=postgres))
        queue = Database(postgres or sqlite_at(home / "jobs" / "queue.sqlite"))
        staff = [started(environment, home / f"{n}.log", *args) for n in range(count)]
        try:
            while _beating(queue) < count:
                time.sleep(0.1)
            yield desk
        finally:
            for worker in staff:
                worker.terminate()
            for worker in staff:
                worker.join(30)
            queue.close()
            desk.store.close()


def seconds(desk: Desk, sound: bytes, options: Options, words: str) -> float:
    """Return how long a job took from its plan to its end; its words are checked."""
    job = desk.accept(Order(options=options), sound, Handed(tenant="t"))
    while desk.store.job(job.id).chunks is None:
        time.sleep(0.02)
    began = time.perf_counter()
    while desk.store.job(job.id).state in LIVE:
        time.sleep(0.05)
    took_s = time.perf_counter() - began
    said = desk.transcript(desk.store.job(job.id)).text
    assert said == words or not words, f"other words: {said}"
    return took_s


def timed(kind: str, counts: list[int], chunks: int, delay_s: float) -> None:
    """Measure with an engine that sleeps."""
    for count in counts:
        with team(kind, count, {"STUB_DELAY_S": str(delay_s)}, "--at-once", "1") as desk:
            took_s = seconds(desk, recording(1, chunks), OPTIONS, expected(1, chunks))
        alone_s = chunks * delay_s
        print(
            f"{kind}: {count} workers, {chunks} chunks of {delay_s} s: {took_s:.1f} s, "
            f"{alone_s / took_s:.2f} times the engine alone, {alone_s / took_s / count:.0%} of each",
            flush=True,
        )


def real(kind: str, path: Path, language: str) -> None:
    """Measure with base; the words must be those of a run in one piece."""
    options, sound = replace(SPOKEN, language=language), path.read_bytes()
    with build(replace(Settings.from_env(), model="base", cache_mb=0)) as service:
        words = service.transcribe(sound, options, tenant=None).text
    for count, threads in ((2, 1), (1, 1), (1, 2)):
        more = {
            "REAL_WEIGHTS": "1",
            "WHISPER_LAMBDA_MODEL": "base",
            "WHISPER_LAMBDA_THREADS": str(threads),
        }
        with team(kind, count, more) as desk:
            for number in range(4 * count):  # until every worker has its weights
                seconds(desk, spoken(number), SPOKEN, "")
            took = [seconds(desk, sound, options, words) for _ in range(2)]
        times = " and ".join(f"{t:.1f}" for t in took)
        print(f"{kind}: {count} workers of {threads} threads, {path.name}: {times} s, same words", flush=True)


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
    reader.add_argument("--real", type=Path, metavar="RECORDING", help="base's weights on this recording")
    reader.add_argument("--language", default="en")
    given = reader.parse_args()
    if given.real:
        real(given.database, given.real, given.language)
    else:
        timed(given.database, given.workers, given.chunks, given.delay_s)


if __name__ == "__main__":
    main()
