"""Real workers with a timed engine: it takes so long a chunk, and says what it heard by its digest.

Started by fork from a server that has imported everything already, so that hundreds of them can be
killed within minutes.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from fakes import FakeEngine, fake_service
from whisper_lambda import lanes
from whisper_lambda.errors import EngineFailed
from whisper_lambda.types import Chunk, ChunkResult, Options

PRELOAD = ["dbos", "stub_worker", "whisper_lambda.adapters.dbos", "whisper_lambda.cli.worker"]


@dataclass
class DigestEngine(FakeEngine):
    """Says the digest of the samples: a chunk lost, doubled or mixed up shows in the words."""

    log: str = ""
    poison: str = ""  # a chunk of this digest is never heard; "kill:..." kills the worker

    def transcribe(self, chunk: Chunk, options: Options) -> ChunkResult:
        digest = hashlib.sha256(chunk.samples.tobytes()).hexdigest()[:12]
        if self.log:
            with Path(self.log).open("a") as file:  # one write: lines of several workers do not mix
                file.write(f"{os.getpid()} {digest} {chunk.start:.2f}\n")
        lanes.stay()
        if self.poison == f"kill:{digest}":
            os.kill(os.getpid(), 9)
        if self.poison == digest:
            raise EngineFailed("the chunk is poison")
        time.sleep(self.delay_s)
        heard = FakeEngine.transcribe(replace(self, delay_s=0.0, text=f" {digest}"), chunk, options)
        return replace(heard, segments=tuple(replace(s, scored=()) for s in heard.segments))


def build(settings):
    engine = DigestEngine(
        delay_s=float(os.environ.get("STUB_DELAY_S", "0.1")),
        log=os.environ.get("STUB_LOG", ""),
        poison=os.environ.get("STUB_POISON", ""),
    )
    return fake_service(engine, settings)


def run(args: list[str], environment: dict[str, str], log: str) -> None:
    """Be a worker; its log goes to a file."""
    os.environ.update(environment)
    descriptor = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(descriptor, 2)
    os.dup2(descriptor, 1)
    sys.argv = ["whisper-lambda", *args]
    from whisper_lambda.cli import main

    main(build=None if "REAL_WEIGHTS" in environment else build)


def started(environment: dict[str, str], log: Path, *args: str) -> BaseProcess:
    """Start a worker; the caller ends it."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    worker = context.Process(target=run, args=(["worker", *args], environment, str(log)), daemon=True)
    worker.start()
    return worker
