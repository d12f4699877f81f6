"""Recordings in; what each Opus bitrate costs in words and saves in bytes and upload time out.

python -m whisper_lambda.tools.compression MANIFEST... [--every N] prints the table of docs/compression.md.
"""

from __future__ import annotations

import argparse
import io
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from whisper_lambda.audio.encode import opus
from whisper_lambda.bootstrap import Service, build
from whisper_lambda.config import Settings
from whisper_lambda.tools.evaluate import judged, normalised, pooled_short
from whisper_lambda.tools.manifest import Entry, read_manifests
from whisper_lambda.tools.scoring import error_rate
from whisper_lambda.types import Options, Samples

KBIT_PER_S = (16.0, 24.0, 32.0)
MBIT_PER_S = (1.0, 10.0)
_BLOCK_S = 0.02  # what the shaped line passes on at once


@dataclass(slots=True)
class Way:
    """One way to send: as PCM, or at one bitrate."""

    name: str
    sizes: list[int] = field(default_factory=list)
    words: int = 0
    wrong: int = 0

    @property
    def wer(self) -> float:
        """Wrong words for each word of the references, in per cent."""
        return 100 * self.wrong / self.words if self.words else 0.0


def measured(entries: Sequence[Entry], model: str) -> list[Way]:
    """Hear every recording as it is and out of each bitrate, with the language its manifest names."""
    ways = [Way("as it is (16-bit WAV)"), *(Way(f"Opus {kbit:g} kbit/s") for kbit in KBIT_PER_S)]
    with build(Settings.from_env()) as service:
        for entry in entries:
            samples = service.decode(entry.path).samples
            _heard(service, entry, ways[0], samples, 44 + 2 * len(samples), model)
            for way, kbit in zip(ways[1:], KBIT_PER_S, strict=True):
                out = io.BytesIO()
                size = opus(np.array_split(samples, 1 + len(samples) // 16_000), out, kbit_per_s=kbit)
                _heard(service, entry, way, out.getvalue(), size, model)
    return ways


def _heard(service: Service, entry: Entry, way: Way, source: bytes | Samples, size: int, model: str) -> None:
    options = Options(language=entry.language_hint, times="none")
    heard = judged(entry, service.transcribe(source, options, model=model, tenant=None), 0.0)
    reference, text = normalised(heard, numbers=True)
    rate = error_rate([reference], [text])
    way.sizes.append(size)
    way.words += rate.words
    way.wrong += rate.substitutions + rate.insertions + rate.deletions


@contextmanager
def shaped_line(mbit_per_s: float) -> Iterator[tuple[str, int]]:
    """Serve a loopback address that takes bytes no faster than that, and says when it has all."""
    a_block = int(mbit_per_s * 1e6 / 8 * _BLOCK_S)
    server = socket.create_server(("127.0.0.1", 0))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                next_at = time.monotonic()
                while peer.recv(a_block, socket.MSG_WAITALL):
                    next_at += _BLOCK_S
                    time.sleep(max(0.0, next_at - time.monotonic()))
                peer.sendall(b"k")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with closing(server):
        yield server.getsockname()


def upload_s(size: int, address: tuple[str, int]) -> float:
    """Return how long so many bytes take over that line."""
    with socket.create_connection(address) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        started = time.perf_counter()
        line.sendall(bytes(size))
        line.shutdown(socket.SHUT_WR)
        line.recv(1)
        return time.perf_counter() - started


def table(ways: Sequence[Way]) -> Iterator[str]:
    """Yield the Markdown table; upload times are of the recording of median size."""
    yield "| sent as | bytes in all | WER % | p50 upload at 1 Mbit/s | at 10 Mbit/s |"
    yield "|---|---|---|---|---|"
    for way in ways:
        middle = int(statistics.median(way.sizes))
        times = []
        for rate in MBIT_PER_S:
            with shaped_line(rate) as address:
                times.append(statistics.median(upload_s(middle, address) for _ in range(3)))
        cells = " | ".join(f"{t:.2f} s" for t in times)
        yield f"| {way.name} | {sum(way.sizes):,} | {way.wer:.2f} | {cells} |"


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m whisper_lambda.tools.compression")
    parser.add_argument("manifests", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take each Nth short recording")
    parser.add_argument("--model", default="base")
    given = parser.parse_args(arguments)
    entries = [e for e in pooled_short(read_manifests(given.manifests)) if e.text][:: given.every]
    said = [f"{len(entries)} recordings, {sum(e.duration_s for e in entries):.0f} s, {given.model}"]
    said += table(measured(entries, given.model))
    sys.stdout.write("\n".join(said) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
