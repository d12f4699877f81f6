"""Kill anything, at any moment, and look from outside at what is left: promise P10.

    make history

Workers die by SIGKILL and are stopped past their lease by SIGSTOP while jobs come in, each handed in twice
with one idempotency key. The checker knows only the stores: every accepted job must have ended well,
its words must be those of a run in one piece, every chunk counted once, nothing left in the queue.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import signal
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from stub_worker import DigestEngine, started

from databases import DATABASES
from samples import bundled
from serving import pcm_wav
from whisper_lambda.bootstrap import build
from whisper_lambda.config import Settings
from whisper_lambda.errors import StorageFailed
from whisper_lambda.job import LIVE, Order
from whisper_lambda.jobs.desk import Desk, Handed
from whisper_lambda.staffing import open_desk
from whisper_lambda.types import SAMPLE_RATE, Options

OPTIONS = Options(language="es", vad="off", times="word")
WORKERS = 3
LEASE_S = 2.0


@cache
def recording(number: int, bursts: int = 4) -> bytes:
    """A WAV of so many sounds with long pauses between them: each is one chunk."""
    noise = np.random.default_rng(number)
    parts = []
    for _ in range(bursts):
        parts.append(noise.uniform(-0.3, 0.3, SAMPLE_RATE // 2))
        parts.append(np.zeros(round(4.2 * SAMPLE_RATE)))
    pcm = (np.concatenate(parts) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(pcm.tobytes())
    return buffer.getvalue()


@cache
def expected(number: int, bursts: int = 4) -> str:
    """What one process says of it, in one piece."""
    from fakes import fake_service

    with fake_service(DigestEngine(), Settings(decoders=0)) as service:
        return service.transcribe(recording(number, bursts), OPTIONS, tenant=None).text


@cache
def spoken(number: int) -> bytes:
    """A WAV of two bundled prompts, far enough apart to be two chunks."""
    said, gap = bundled(), np.zeros(round(4.5 * SAMPLE_RATE), np.float32)
    return pcm_wav(np.concatenate([said[number % len(said)], gap, said[(number + 3) % len(said)], gap]))


@cache
def spoken_words(number: int) -> str:
    """What real weights say of it, in one process and one piece."""
    with build(replace(Settings.from_env(), model="base", cache_mb=0)) as service:
        return service.transcribe(spoken(number), SPOKEN, tenant=None).text


@dataclass(frozen=True)
class Kind:
    """What jobs are of, and what must come of them."""

    recording: Callable[[int], bytes]
    expected: Callable[[int], str]
    options: Options


SPOKEN = Options(language="es", times="word")
STUB = Kind(recording, expected, OPTIONS)
REAL = Kind(spoken, spoken_words, SPOKEN)


@dataclass
class Findings:
    """What the checker saw."""

    accepted: int = 0
    kills: int = 0
    stops: int = 0
    lost: int = 0
    wrong: int = 0
    doubled: int = 0
    stuck: int = 0
    refused: int = 0  # a worker stopped while it held SQLite's write lock
    fenced: int = 0
    chunks: int = 0
    engine_runs: int = 0
    taken_over: int = 0
    audio_left: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.wrong or self.doubled or self.stuck or self.audio_left)


def run(
    kind: str,
    *,
    jobs: int,
    kills: int,
    stops: int,
    seed: int = 1,
    patience_s: float = 180.0,
    kinds: int = 12,
    of: Kind = STUB,
) -> Findings:
    """Make one history and check it."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="wl-history-") as folder, DATABASES[kind]() as address:
        home, logs = Path(folder), Path(folder) / "logs"
        logs.mkdir()
        engine_log = home / "engine.log"
        engine_log.touch()
        environment = {
            "WHISPER_LAMBDA_HOME": str(home),
            "WHISPER_LAMBDA_JOBS_LEASE_S": str(LEASE_S),
            "WHISPER_LAMBDA_JOBS_POLL_S": "0.05",
            "WHISPER_LAMBDA_CACHE_MB": "0",  # every chunk is heard, none remembered
            "WHISPER_LAMBDA_DECODERS": "0",
            "STUB_DELAY_S": "0.05",
            "STUB_LOG": str(engine_log),
        }
        if of is REAL:
            (home / "models").symlink_to(Settings.from_env().home / "models")
            environment |= {
                "REAL_WEIGHTS": "1",
                "WHISPER_LAMBDA_MODEL": "base",
                "WHISPER_LAMBDA_THREADS": "1",
            }
        settings = Settings(home=home, jobs_lease_s=LEASE_S)
        if kind == "postgres":
            environment["WHISPER_LAMBDA_JOBS_DATABASE"] = address
            settings = Settings(home=home, jobs_lease_s=LEASE_S, jobs_database=address)
        desk = open_desk(settings)
        began = time.monotonic()
        blows = ["kill"] * kills + ["stop"] * stops
        chance.shuffle(blows)
        storm = Storm(desk, environment, logs, chance, of)
        try:
            storm.rage(jobs, blows, patience_s, kinds)
            findings = storm.findings
            findings.accepted, findings.stuck = len(storm.accepted), len(storm.unfinished())
            _check(desk, storm.accepted, findings, of)
        finally:
            storm.end()
        findings.seconds = round(time.monotonic() - began, 1)
        findings.engine_runs = len(engine_log.read_text().splitlines())
        said = "".join(p.read_text(errors="replace") for p in logs.iterdir())
        findings.fenced = said.count("came too late and was not stored")
        findings.taken_over = said.count("parts it had are queued again")
        if not findings.clean:
            print(said[-6000:], file=sys.stderr)
        desk.store.close()
        return findings


class Storm:
    """Three workers, jobs coming in, and blows that fall on whom they fall."""

    def __init__(
        self, desk: Desk, environment: dict[str, str], logs: Path, chance: random.Random, of: Kind
    ) -> None:
        self.of = of
        self.desk = desk
        self.environment = environment
        self.logs = logs
        self.chance = chance
        self.findings = Findings()
        self.accepted: dict[str, int] = {}
        self.ended: set[str] = set()
        self.count = 0
        self.workers = [self.hired() for _ in range(WORKERS)]
        self.stopped: dict[int, float] = {}  # place -> when it wakes

    def hired(self) -> BaseProcess:
        self.count += 1
        return started(self.environment, self.logs / f"{self.count}.log", "--at-once", "1")

    def rage(self, jobs: int, blows: list[str], patience_s: float, kinds: int) -> None:
        last = time.monotonic()
        while len(self.accepted) < jobs or blows or self.stopped or self.unfinished():
            for _ in range(4):
                if len(self.accepted) < jobs and len(self.unfinished()) < 40:
                    self.hand_in(kinds)
            self.wake()
            if blows:
                last = time.monotonic()
                place = self.chance.randrange(WORKERS)
                if place not in self.stopped:
                    self.strike(place, blows.pop())
            elif time.monotonic() - last > patience_s:
                return
            time.sleep(self.chance.uniform(0.2, 1.4))

    def hand_in(self, kinds: int) -> None:
        """Twice with one key, as a client whose connection broke does."""
        number = len(self.accepted) % kinds
        order = Order(options=self.of.options)
        handed = Handed(tenant=f"t{len(self.accepted) % 3}", idempotency_key=f"key {len(self.accepted)}")
        try:
            first = self.desk.accept(order, self.of.recording(number), handed)
            again = self.desk.accept(order, self.of.recording(number), handed)
        except StorageFailed:  # refused, by name: the client sends it again with its key
            self.findings.refused += 1
            return
        self.findings.doubled += first.id != again.id
        self.accepted[first.id] = number

    def strike(self, place: int, blow: str) -> None:
        if blow == "kill":
            self.workers[place].kill()
            self.workers[place].join()
            self.workers[place] = self.hired()
            self.findings.kills += 1
        else:
            os.kill(self.workers[place].pid, signal.SIGSTOP)
            self.stopped[place] = time.monotonic() + self.chance.uniform(0.5, 2.5) * LEASE_S
            self.findings.stops += 1

    def wake(self) -> None:
        for place, wakes in list(self.stopped.items()):
            if time.monotonic() >= wakes:
                os.kill(self.workers[place].pid, signal.SIGCONT)
                del self.stopped[place]

    def unfinished(self) -> list[str]:
        left = [job_id for job_id in self.accepted if job_id not in self.ended]
        self.ended.update(j for j in left if self.desk.store.job(j).state not in LIVE)
        return [job_id for job_id in left if job_id not in self.ended]

    def end(self) -> None:
        for place in self.stopped:
            os.kill(self.workers[place].pid, signal.SIGCONT)
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.join(20)
            if worker.is_alive():
                worker.kill()


def _check(desk: Desk, accepted: dict[str, int], findings: Findings, of: Kind) -> None:
    """Look at the stores, and at nothing a worker says."""
    kept = [job for tenant in ("t0", "t1", "t2") for job in desk.store.list(tenant, limit=100_000)]
    findings.doubled += len(kept) - len({job.idempotency_key for job in kept})
    findings.lost = len(accepted.keys() - {job.id for job in kept})
    time.sleep(1.0)  # the last merge still deletes the audio
    for job in kept:
        done = desk.store.chunks(job.id)
        findings.chunks += len(done)
        findings.doubled += sum(n - 1 for n in Counter(d.index for d in done).values())
        if job.state != "completed" or desk.transcript(job).text != of.expected(accepted[job.id]):
            findings.wrong += 1
        findings.wrong += job.chunks_done != len(done) or len(done) != job.chunks
    left = [key for key in desk.objects.keys("jobs/") if not key.endswith("transcript.json")]
    findings.audio_left = len(left)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("database", choices=sorted(DATABASES))
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--stops", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="real weights on real speech")
    args = parser.parse_args()
    findings = run(
        args.database,
        jobs=args.jobs,
        kills=args.kills,
        stops=args.stops,
        seed=args.seed,
        patience_s=600.0,
        of=REAL if args.real else STUB,
    )
    print(f"{args.database}: {findings}")
    sys.exit(not findings.clean)


if __name__ == "__main__":
    main()
